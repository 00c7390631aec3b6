//! Integers that must not be mistaken for each other.
//!
//! Each is a plain number on the wire and on disk; the type says what it counts.

use std::fmt::{self, Display, Formatter};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// The place of a record in its partition; -1 where Kafka has none.
    Offset(i64)
}
quantity! {
    /// How many leaders a partition has had, from 0; -1 where it is not known.
    LeaderEpoch(i32)
}
quantity! {
    /// A broker's identity within its cluster; -1 for none.
    BrokerId(i32)
}
quantity! {
    /// Milliseconds since 1970-01-01 00:00 UTC; -1 where a record has no timestamp.
    TimestampMs(i64)
}
