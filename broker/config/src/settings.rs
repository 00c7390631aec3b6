//! The macro that ties a struct's fields to rows of the key table.

use crate::{error::ConfigError, key, value::Value};

/// Declares a struct whose fields are read from the values of named keys.
///
/// `Default` reads the table's defaults; a test of each struct proves that all of them parse.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $ty:ty = $key:literal, )*
        }
        derived { $( $(#[$derived_meta:meta])* $derived:ident: $derived_ty:ty, )* }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
            $( $(#[$derived_meta])* pub $derived: $derived_ty, )*
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const KEYS: &[&str] = &[$($key),*];

            fn read(
                text: &dyn Fn(&'static str) -> Option<String>,
            ) -> Result<Self, $crate::error::ConfigError> {
                Ok(Self {
                    $( $field: $crate::settings::read($key, text($key).as_deref())?, )*
                    $( $derived: <$derived_ty>::default(), )*
                })
            }
        }

        impl Default for $name {
            fn default() -> Self {
                #[allow(unused_mut, reason = "only a struct with derived fields fills them")]
                let mut config = Self {
                    $( $field: $crate::value::Value::parse(
                        $crate::dynamic::default_text($key).as_deref(),
                    ).unwrap_or_default(), )*
                    $( $derived: <$derived_ty>::default(), )*
                };
                config.derive_defaults();
                config
            }
        }
    };
}
pub(crate) use settings;

/// Reads the value of `name` as `T`.
pub(crate) fn read<T: Value>(name: &str, text: Option<&str>) -> Result<T, ConfigError> {
    T::parse(text).ok_or_else(|| ConfigError::Invalid {
        key: name.to_owned(),
        value: text.unwrap_or("null").to_owned(),
        expected: key::find(name).map_or_else(|| "valid".to_owned(), key::Key::expectation),
        place: None,
    })
}
