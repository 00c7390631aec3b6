//! How a field of each type stands on the wire, given the form its version asks for.

use std::borrow::Cow;

use super::{DecodeError, EncodeError, Reader, Writer};
use crate::uuid::Uuid;

/// What a version of a message decides about its fields.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The version of the message.
    pub version: i16,
    /// Whether lengths are varints and structs end in tagged fields (KIP-482).
    pub flexible: bool,
    /// Whether the field at hand may be null.
    pub nullable: bool,
}

/// A type that a message field can have.
pub trait Wire<'a>: Sized {
    /// Reads a value.
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError>;

    /// Writes a value.
    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError>;

    /// Calls `visit` with every field `error_code` that `version` of the message has, in order.
    #[inline]
    fn error_codes(&self, _version: i16, _visit: &mut impl FnMut(i16)) {}
}

/// A type whose form on the wire has a spelling of null.
pub trait Nullable<'a>: Wire<'a> {
    /// Reads a value or null.
    fn read_nullable(reader: &mut Reader<'a>, form: Form) -> Result<Option<Self>, DecodeError>;

    /// Writes a value where null could stand instead.
    fn write_present(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        self.write(writer, form)
    }

    /// Writes null.
    fn write_null(writer: &mut Writer, form: Form) -> Result<(), EncodeError>;
}

macro_rules! plain {
    ($($name:ident: $type:ty;)*) => {$(
        impl Wire<'_> for $type {
            #[inline]
            fn read(reader: &mut Reader<'_>, _: Form) -> Result<Self, DecodeError> {
                reader.$name()
            }

            #[inline]
            fn write(&self, writer: &mut Writer, _: Form) -> Result<(), EncodeError> {
                writer.$name(*self);
                Ok(())
            }
        }
    )*};
}

plain! {
    bool: bool;
    i8: i8;
    i16: i16;
    i32: i32;
    i64: i64;
    u16: u16;
    u32: u32;
    f64: f64;
    uuid: Uuid;
}

impl<'a, T: Nullable<'a>> Wire<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError> {
        let value = T::read_nullable(reader, form)?;
        if value.is_none() && !form.nullable {
            return Err(DecodeError::Null { position: reader.position() });
        }
        Ok(value)
    }

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_present(writer, form),
            None if form.nullable => T::write_null(writer, form),
            None => Err(EncodeError::Null { position: writer.position() }),
        }
    }

    #[inline]
    fn error_codes(&self, version: i16, visit: &mut impl FnMut(i16)) {
        if let Some(value) = self {
            value.error_codes(version, visit);
        }
    }
}

fn not_null<'a, T: Nullable<'a>>(reader: &mut Reader<'a>, form: Form) -> Result<T, DecodeError> {
    let value = T::read_nullable(reader, form)?;
    value.ok_or_else(|| DecodeError::Null { position: reader.position() })
}

impl<'a> Wire<'a> for Cow<'a, str> {
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError> {
        not_null(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.string_length(Some(self.len()), form.flexible)?;
        writer.bytes(self.as_bytes());
        Ok(())
    }
}

impl<'a> Nullable<'a> for Cow<'a, str> {
    fn read_nullable(reader: &mut Reader<'a>, form: Form) -> Result<Option<Self>, DecodeError> {
        let length = reader.string_length(form.flexible)?;
        length.map(|length| reader.str(length).map(Cow::Borrowed)).transpose()
    }

    fn write_null(writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.string_length(None, form.flexible)
    }
}

impl<'a> Wire<'a> for Cow<'a, [u8]> {
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError> {
        not_null(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.long_length(Some(self.len()), form.flexible)?;
        writer.bytes(self);
        Ok(())
    }
}

impl<'a> Nullable<'a> for Cow<'a, [u8]> {
    fn read_nullable(reader: &mut Reader<'a>, form: Form) -> Result<Option<Self>, DecodeError> {
        let length = reader.long_length(form.flexible)?;
        length.map(|length| reader.take(length).map(Cow::Borrowed)).transpose()
    }

    fn write_null(writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.long_length(None, form.flexible)
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError> {
        not_null(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.long_length(Some(self.len()), form.flexible)?;
        self.iter().try_for_each(|element| element.write(writer, form))
    }

    #[inline]
    fn error_codes(&self, version: i16, visit: &mut impl FnMut(i16)) {
        for element in self {
            element.error_codes(version, visit);
        }
    }
}

impl<'a, T: Wire<'a>> Nullable<'a> for Vec<T> {
    fn read_nullable(reader: &mut Reader<'a>, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.long_length(form.flexible)? else { return Ok(None) };
        let mut elements = reader.vec(count)?;
        for _ in 0..count {
            elements.push(T::read(reader, form)?);
        }
        Ok(Some(elements))
    }

    fn write_null(writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.long_length(None, form.flexible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::{Gap, Records};

    const OLD: Form = Form { version: 0, flexible: false, nullable: true };
    const FLEXIBLE: Form = Form { flexible: true, ..OLD };
    const NEVER_NULL: Form = Form { nullable: false, ..OLD };

    fn written<'a>(value: &impl Wire<'a>, form: Form) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new();
        value.write(&mut writer, form)?;
        Ok(writer.into_parts().0.to_vec())
    }

    #[test]
    fn each_type_has_its_long_and_its_compact_form() {
        let text = Cow::Borrowed("ab");
        let bytes: Cow<'_, [u8]> = Cow::Borrowed(&[7]);
        let array = vec![1_i16, 2];
        assert_eq!(written(&text, OLD), Ok(vec![0, 2, b'a', b'b']));
        assert_eq!(written(&text, FLEXIBLE), Ok(vec![3, b'a', b'b']));
        assert_eq!(written(&bytes, OLD), Ok(vec![0, 0, 0, 1, 7]));
        assert_eq!(written(&bytes, FLEXIBLE), Ok(vec![2, 7]));
        assert_eq!(written(&array, OLD), Ok(vec![0, 0, 0, 2, 0, 1, 0, 2]));
        assert_eq!(written(&array, FLEXIBLE), Ok(vec![3, 0, 1, 0, 2]));
    }

    #[test]
    fn null_passes_only_where_it_is_allowed() {
        let null: Option<Cow<'_, str>> = None;
        assert_eq!(written(&null, OLD), Ok(vec![0xff, 0xff]));
        assert_eq!(written(&null, FLEXIBLE), Ok(vec![0]));
        assert_eq!(written(&null, NEVER_NULL), Err(EncodeError::Null { position: 0 }));

        let bytes = [0xff; 4];
        let nothing = Option::<Vec<i32>>::read(&mut Reader::new(&bytes), OLD);
        assert_eq!(nothing, Ok(None));
        let refused = Option::<Vec<i32>>::read(&mut Reader::new(&bytes), NEVER_NULL);
        assert_eq!(refused, Err(DecodeError::Null { position: 4 }));
        let refused = Vec::<i32>::read(&mut Reader::new(&bytes), OLD);
        assert_eq!(refused, Err(DecodeError::Null { position: 4 }));
        let refused = Cow::<'_, str>::read(&mut Reader::new(&bytes), OLD);
        assert_eq!(refused, Err(DecodeError::Null { position: 2 }));
    }

    #[test]
    fn deferred_records_leave_a_gap_of_their_size() {
        let mut writer = Writer::new();
        Some(Records::Deferred(300)).write(&mut writer, FLEXIBLE).expect("a small size");
        writer.i8(1);
        assert_eq!(writer.as_slice(), [0xad, 0x02, 1]);
        assert_eq!(writer.gaps(), [Gap { position: 2, size: 300 }]);
    }
}
