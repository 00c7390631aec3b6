//! The notation of the message tables.
//!
//! ```text
//! message! {
//!     Heartbeat;
//!     /// The first struct is the request or response, the others are its parts.
//!     pub struct HeartbeatRequest<'a> {
//!         group_id: Cow<'a, str>, 0..;
//!         generation_id: i32 = -1, 0..;                               default that is not zero
//!         group_instance_id: Option<Cow<'a, str>>, 3.., null 3..;     versions that allow null
//!         extra: i64, 4.., tag 0;                                     tagged field (KIP-482)
//!     }
//! }
//! ```
//!
//! Without `null`, an `Option` may be null in every version that has the field.
//! Tagged rows come last in their struct, in ascending order; they are written only if they differ
//! from their default.

use crate::api_key::ApiKey;
use crate::primitive::{DecodeError, EncodeError, Form, Reader, Writer};

/// A request or a response: the body of a frame, after its header.
pub trait Message<'a>: Sized {
    /// The API it belongs to.
    const API_KEY: ApiKey;

    /// Reads the body in `version`. Bytes after it are left in the reader.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body in `version`, dropping what that version cannot say.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Calls `visit` with every error code that the body says in `version`, of the whole and of its
    /// parts, 0 for none included.
    fn error_codes(&self, version: i16, visit: &mut impl FnMut(i16));

    /// Draws a random message that `version` can say, for tests.
    #[cfg(feature = "sample")]
    fn sample(rng: &mut fastrand::Rng, version: i16) -> Self
    where
        Self: crate::primitive::Sample,
    {
        let flexible = Self::API_KEY.is_flexible(version);
        crate::primitive::Sample::sample(rng, Form { version, flexible, nullable: true })
    }
}

/// Finds the form of an incoming version.
pub(super) fn form_to_decode(api_key: ApiKey, version: i16) -> Result<Form, DecodeError> {
    let error = DecodeError::UnsupportedVersion { api: api_key.name(), version };
    form(api_key, version).ok_or(error)
}

/// Finds the form of an outgoing version.
pub(super) fn form_to_encode(api_key: ApiKey, version: i16) -> Result<Form, EncodeError> {
    let error = EncodeError::UnsupportedVersion { api: api_key.name(), version };
    form(api_key, version).ok_or(error)
}

fn form(api_key: ApiKey, version: i16) -> Option<Form> {
    let flexible = api_key.is_flexible(version);
    api_key.versions().contains(&version).then_some(Form { version, flexible, nullable: true })
}

/// Makes structs and their codec of a table, see the module.
macro_rules! message {
    (
        $api:ident;
        $(#[$meta:meta])*
        pub struct $name:ident $(<$life:lifetime>)? { $($rows:tt)* }
        $($rest:tt)*
    ) => {
        impl<'a> crate::message::Message<'a> for $name $(<$life>)? {
            const API_KEY: crate::api_key::ApiKey = crate::api_key::ApiKey::$api;

            fn decode(
                reader: &mut crate::primitive::Reader<'a>,
                version: i16,
            ) -> Result<Self, crate::primitive::DecodeError> {
                let form = crate::message::table::form_to_decode(Self::API_KEY, version)?;
                crate::primitive::Wire::read(reader, form)
            }

            fn encode(
                &self,
                writer: &mut crate::primitive::Writer,
                version: i16,
            ) -> Result<(), crate::primitive::EncodeError> {
                let form = crate::message::table::form_to_encode(Self::API_KEY, version)?;
                crate::primitive::Wire::write(self, writer, form)
            }

            fn error_codes(&self, version: i16, visit: &mut impl FnMut(i16)) {
                crate::primitive::Wire::error_codes(self, version, visit);
            }
        }

        crate::message::table::parts! {
            $(#[$meta])* pub struct $name $(<$life>)? { $($rows)* } $($rest)*
        }
    };
}
pub(super) use message;

/// Makes the structs, with their [`crate::primitive::Wire`].
macro_rules! parts {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(<$life:lifetime>)? {$(
            $(#[$field_meta:meta])*
            $field:ident: $type:ty $(= $default:expr)?,
            $versions:expr $(, null $null:expr)? $(, tag $tag:literal)?;
        )*}
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name $(<$life>)? {$(
            $(#[$field_meta])*
            #[doc = concat!("Versions `", stringify!($versions), "`.")]
            pub $field: $type,
        )*}

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: crate::message::table::default_of!($type $(, $default)?),)* }
            }
        }

        impl<'a> crate::primitive::Wire<'a> for $name $(<$life>)? {
            #[allow(unused_mut, unused_variables, reason = "tables without rows or tags")]
            fn read(
                reader: &mut crate::primitive::Reader<'a>,
                form: crate::primitive::Form,
            ) -> Result<Self, crate::primitive::DecodeError> {
                let mut message = Self::default();
                $(crate::message::table::read!(
                    [$($tag)?] message.$field, reader, form, $versions $(, $null)?
                );)*
                if form.flexible {
                    reader.tagged_fields(|tag, reader| {
                        $(crate::message::table::read_tagged!(
                            [$($tag)?] tag, message.$field, reader, form, $versions $(, $null)?
                        );)*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }

            #[allow(unused_mut, unused_variables, reason = "tables without rows or tags")]
            fn write(
                &self,
                writer: &mut crate::primitive::Writer,
                form: crate::primitive::Form,
            ) -> Result<(), crate::primitive::EncodeError> {
                $(crate::message::table::write!(
                    [$($tag)?] self.$field, writer, form, $versions $(, $null)?
                );)*
                if form.flexible {
                    let mut count = 0;
                    $(crate::message::table::count_tagged!(
                        [$($tag)?] count, self.$field, form, $versions, $type $(, $default)?
                    );)*
                    writer.unsigned_varint(count);
                    $(crate::message::table::write_tagged!(
                        [$($tag)?] self.$field, writer, form, $versions $(, null $null)?,
                        $type $(, $default)?
                    );)*
                }
                Ok(())
            }

            #[allow(unused_variables, reason = "tables without rows")]
            #[inline]
            fn error_codes(&self, version: i16, visit: &mut impl FnMut(i16)) {
                $(crate::message::table::visit!(
                    [$field] self.$field, version, visit, $versions
                );)*
            }
        }

        impl $(<$life>)? crate::primitive::IntoOwned for $name $(<$life>)? {
            type Owned = crate::message::table::owned!($name $($life)?);

            fn into_owned(self) -> Self::Owned {
                $name { $($field: crate::primitive::IntoOwned::into_owned(self.$field),)* }
            }
        }

        #[cfg(feature = "sample")]
        impl $(<$life>)? crate::primitive::Sample for $name $(<$life>)? {
            #[allow(unused_mut, unused_variables, reason = "tables without rows")]
            fn sample(rng: &mut fastrand::Rng, form: crate::primitive::Form) -> Self {
                let mut message = Self::default();
                $(if ($versions).contains(&form.version) {
                    let form = crate::message::table::form_of!(form $(, $null)?);
                    message.$field = crate::primitive::Sample::sample(rng, form);
                })*
                message
            }
        }

        // An optional struct has a byte ahead of it that says if it is there.
        impl<'a> crate::primitive::Nullable<'a> for $name $(<$life>)? {
            fn read_nullable(
                reader: &mut crate::primitive::Reader<'a>,
                form: crate::primitive::Form,
            ) -> Result<Option<Self>, crate::primitive::DecodeError> {
                if reader.i8()? < 0 {
                    return Ok(None);
                }
                crate::primitive::Wire::read(reader, form).map(Some)
            }

            fn write_present(
                &self,
                writer: &mut crate::primitive::Writer,
                form: crate::primitive::Form,
            ) -> Result<(), crate::primitive::EncodeError> {
                writer.i8(1);
                crate::primitive::Wire::write(self, writer, form)
            }

            fn write_null(
                writer: &mut crate::primitive::Writer,
                _: crate::primitive::Form,
            ) -> Result<(), crate::primitive::EncodeError> {
                writer.i8(-1);
                Ok(())
            }
        }
    )*};
}
pub(super) use parts;

/// The type of a struct that borrows nothing.
macro_rules! owned {
    ($name:ident) => { $name };
    ($name:ident $life:lifetime) => { $name<'static> };
}
pub(super) use owned;

/// The default of a row.
macro_rules! default_of {
    ($type:ty) => {
        <$type>::default()
    };
    ($type:ty, $default:expr) => {
        $default
    };
}
pub(super) use default_of;

/// The form of a field, from its struct's form and its row's `null`.
macro_rules! form_of {
    ($form:ident) => {
        crate::primitive::Form { nullable: true, ..$form }
    };
    ($form:ident, $null:expr) => {
        crate::primitive::Form { nullable: ($null).contains(&$form.version), ..$form }
    };
}
pub(super) use form_of;

/// Reads a row that has no tag.
macro_rules! read {
    ([$tag:literal] $($row:tt)*) => {};
    (
        [] $message:ident.$field:ident, $reader:ident, $form:ident,
        $versions:expr $(, $null:expr)?
    ) => {
        if ($versions).contains(&$form.version) {
            let form = crate::message::table::form_of!($form $(, $null)?);
            $message.$field = crate::primitive::Wire::read($reader, form)?;
        }
    };
}
pub(super) use read;

/// Reads a row that has a tag, if the tag at hand is that.
macro_rules! read_tagged {
    ([] $($row:tt)*) => {};
    (
        [$tag:literal] $at:ident, $message:ident.$field:ident, $reader:ident, $form:ident,
        $versions:expr $(, $null:expr)?
    ) => {
        if $at == $tag && ($versions).contains(&$form.version) {
            let form = crate::message::table::form_of!($form $(, $null)?);
            $message.$field = crate::primitive::Wire::read($reader, form)?;
            return Ok(true);
        }
    };
}
pub(super) use read_tagged;

/// Writes a row that has no tag.
macro_rules! write {
    ([$tag:literal] $($row:tt)*) => {};
    (
        [] $self:ident.$field:ident, $writer:ident, $form:ident,
        $versions:expr $(, $null:expr)?
    ) => {
        if ($versions).contains(&$form.version) {
            let form = crate::message::table::form_of!($form $(, $null)?);
            crate::primitive::Wire::write(&$self.$field, $writer, form)?;
        }
    };
}
pub(super) use write;

/// Shows a row's error codes: a field of that name is one, any other may hold some.
macro_rules! visit {
    ([error_code] $code:expr, $version:ident, $visit:ident, $versions:expr) => {
        if ($versions).contains(&$version) {
            $visit($code);
        }
    };
    ([$field:ident] $value:expr, $version:ident, $visit:ident, $versions:expr) => {
        if ($versions).contains(&$version) {
            crate::primitive::Wire::error_codes(&$value, $version, $visit);
        }
    };
}
pub(super) use visit;

/// Counts a row that has a tag, if it is to be written.
macro_rules! count_tagged {
    ([] $($row:tt)*) => {};
    (
        [$tag:literal] $count:ident, $self:ident.$field:ident, $form:ident, $versions:expr,
        $type:ty $(, $default:expr)?
    ) => {
        if ($versions).contains(&$form.version)
            && $self.$field != crate::message::table::default_of!($type $(, $default)?)
        {
            $count += 1;
        }
    };
}
pub(super) use count_tagged;

/// Writes a row that has a tag, if it is to be written.
macro_rules! write_tagged {
    ([] $($row:tt)*) => {};
    (
        [$tag:literal] $self:ident.$field:ident, $writer:ident, $form:ident,
        $versions:expr $(, null $null:expr)?, $type:ty $(, $default:expr)?
    ) => {
        if ($versions).contains(&$form.version)
            && $self.$field != crate::message::table::default_of!($type $(, $default)?)
        {
            let form = crate::message::table::form_of!($form $(, $null)?);
            $writer.tagged_field($tag, |section| {
                crate::primitive::Wire::write(&$self.$field, section, form)
            })?;
        }
    };
}
pub(super) use write_tagged;
