//! Messages that outlive the frame they came in.
//!
//! What is decoded borrows its strings and bytes from the frame. A request that is handed to another
//! task takes them along.

use std::borrow::Cow;

use super::Records;
use crate::uuid::Uuid;

/// A value that may borrow from a frame, and can stop doing so.
pub trait IntoOwned {
    /// The same type, borrowing nothing.
    type Owned: 'static;

    /// Copies what is borrowed; arrays without anything borrowed stay where they are.
    fn into_owned(self) -> Self::Owned;
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl IntoOwned for $type {
            type Owned = Self;

            #[inline]
            fn into_owned(self) -> Self {
                self
            }
        }
    )*};
}

plain! { bool i8 i16 i32 i64 u16 u32 f64 Uuid }

impl<T: ToOwned + ?Sized + 'static> IntoOwned for Cow<'_, T> {
    type Owned = Cow<'static, T>;

    fn into_owned(self) -> Cow<'static, T> {
        Cow::Owned(Cow::into_owned(self))
    }
}

impl<T: IntoOwned> IntoOwned for Option<T> {
    type Owned = Option<T::Owned>;

    fn into_owned(self) -> Self::Owned {
        self.map(T::into_owned)
    }
}

impl<T: IntoOwned> IntoOwned for Vec<T> {
    type Owned = Vec<T::Owned>;

    fn into_owned(self) -> Self::Owned {
        self.into_iter().map(T::into_owned).collect()
    }
}

impl IntoOwned for Records<'_> {
    type Owned = Records<'static>;

    fn into_owned(self) -> Self::Owned {
        match self {
            Self::Bytes(bytes) => Records::Bytes(IntoOwned::into_owned(bytes)),
            Self::Deferred(size) => Records::Deferred(size),
        }
    }
}
