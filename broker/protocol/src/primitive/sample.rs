//! Random values of every type a field can have, for tests: feature `sample`.
//!
//! A value fits the version asked for: it encodes in it, and decoding gives the value back.

use std::borrow::Cow;
use std::iter::repeat_with;

use fastrand::Rng;

use super::{Form, Nullable, Records, Wire};
use crate::uuid::Uuid;

/// A type of which random values can be drawn.
pub trait Sample {
    /// Draws a value that `form` can say.
    fn sample(rng: &mut Rng, form: Form) -> Self;
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl Sample for $type {
            fn sample(rng: &mut Rng, _: Form) -> Self {
                match rng.u8(..4) {
                    0 => rng.$type(0..100),
                    _ => rng.$type(..),
                }
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 u16 u32 }

impl Sample for bool {
    fn sample(rng: &mut Rng, _: Form) -> Self {
        rng.bool()
    }
}

impl Sample for f64 {
    fn sample(rng: &mut Rng, _: Form) -> Self {
        rng.f64()
    }
}

impl Sample for Uuid {
    fn sample(rng: &mut Rng, _: Form) -> Self {
        Self::from_bytes(rng.u128(..).to_be_bytes())
    }
}

impl Sample for Cow<'_, str> {
    fn sample(rng: &mut Rng, _: Form) -> Self {
        // From empty to longer than one byte of a compact length can say.
        let size = if rng.u8(..16) == 0 { 200 } else { rng.usize(..12) };
        Cow::Owned(repeat_with(|| rng.alphanumeric()).take(size).collect())
    }
}

impl Sample for Cow<'_, [u8]> {
    fn sample(rng: &mut Rng, _: Form) -> Self {
        let size = if rng.u8(..16) == 0 { 200 } else { rng.usize(..12) };
        Cow::Owned(repeat_with(|| rng.u8(..)).take(size).collect())
    }
}

impl Sample for Records<'_> {
    fn sample(rng: &mut Rng, form: Form) -> Self {
        Self::Bytes(Sample::sample(rng, form))
    }
}

impl<'a, T: Sample + Nullable<'a>> Sample for Option<T> {
    fn sample(rng: &mut Rng, form: Form) -> Self {
        (!form.nullable || rng.u8(..4) != 0).then(|| T::sample(rng, form))
    }
}

impl<'a, T: Sample + Wire<'a>> Sample for Vec<T> {
    fn sample(rng: &mut Rng, form: Form) -> Self {
        let count = rng.usize(..4);
        repeat_with(|| T::sample(rng, form)).take(count).collect()
    }
}
