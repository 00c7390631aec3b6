//! The releases of Kafka whose protocol brokers may speak among themselves.
//!
//! A release in which that protocol changed more than once has steps, `-IV0` and on. Only the list and
//! its order are here; what a step changed is for the server to know.
//! Source: Kafka 3.9 `MetadataVersion`.

use std::fmt;

use crate::value::Value;

macro_rules! releases {
    ($($name:ident = $text:literal;)*) => {
        /// A step of the protocol between brokers, in the order in which they came.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(non_camel_case_types, reason = "as in Kafka, where dots are not to be lost")]
        pub enum Release {$(
            #[doc = concat!("`", $text, "`.")]
            $name,
        )*}

        impl Release {
            /// Every step, the oldest first.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the step as Kafka prints it, such as `3.9-IV0`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

releases! {
    V0_8_0 = "0.8.0";
    V0_8_1 = "0.8.1";
    V0_8_2 = "0.8.2";
    V0_9_0 = "0.9.0";
    V0_10_0_IV0 = "0.10.0-IV0";
    V0_10_0_IV1 = "0.10.0-IV1";
    V0_10_1_IV0 = "0.10.1-IV0";
    V0_10_1_IV1 = "0.10.1-IV1";
    V0_10_1_IV2 = "0.10.1-IV2";
    V0_10_2_IV0 = "0.10.2-IV0";
    V0_11_0_IV0 = "0.11.0-IV0";
    V0_11_0_IV1 = "0.11.0-IV1";
    V0_11_0_IV2 = "0.11.0-IV2";
    V1_0_IV0 = "1.0-IV0";
    V1_1_IV0 = "1.1-IV0";
    V2_0_IV0 = "2.0-IV0";
    V2_0_IV1 = "2.0-IV1";
    V2_1_IV0 = "2.1-IV0";
    V2_1_IV1 = "2.1-IV1";
    V2_1_IV2 = "2.1-IV2";
    V2_2_IV0 = "2.2-IV0";
    V2_2_IV1 = "2.2-IV1";
    V2_3_IV0 = "2.3-IV0";
    V2_3_IV1 = "2.3-IV1";
    V2_4_IV0 = "2.4-IV0";
    V2_4_IV1 = "2.4-IV1";
    V2_5_IV0 = "2.5-IV0";
    V2_6_IV0 = "2.6-IV0";
    V2_7_IV0 = "2.7-IV0";
    V2_7_IV1 = "2.7-IV1";
    V2_7_IV2 = "2.7-IV2";
    V2_8_IV0 = "2.8-IV0";
    V2_8_IV1 = "2.8-IV1";
    V3_0_IV0 = "3.0-IV0";
    V3_0_IV1 = "3.0-IV1";
    V3_1_IV0 = "3.1-IV0";
    V3_2_IV0 = "3.2-IV0";
    V3_3_IV0 = "3.3-IV0";
    V3_3_IV1 = "3.3-IV1";
    V3_3_IV2 = "3.3-IV2";
    V3_3_IV3 = "3.3-IV3";
    V3_4_IV0 = "3.4-IV0";
    V3_5_IV0 = "3.5-IV0";
    V3_5_IV1 = "3.5-IV1";
    V3_5_IV2 = "3.5-IV2";
    V3_6_IV0 = "3.6-IV0";
    V3_6_IV1 = "3.6-IV1";
    V3_6_IV2 = "3.6-IV2";
    V3_7_IV0 = "3.7-IV0";
    V3_7_IV1 = "3.7-IV1";
    V3_7_IV2 = "3.7-IV2";
    V3_7_IV3 = "3.7-IV3";
    V3_7_IV4 = "3.7-IV4";
    V3_8_IV0 = "3.8-IV0";
    V3_9_IV0 = "3.9-IV0";
}

impl Release {
    /// The newest there is in ZooKeeper mode.
    pub const NEWEST: Self = Self::V3_9_IV0;

    /// Returns the release without its step, such as `3.9`.
    fn short(self) -> &'static str {
        self.as_str().split("-IV").next().unwrap_or_default()
    }

    /// Reads a step, or a release with or without its patch, which means its last step.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // Releases had three numbers and a patch, and have two and a patch since 1.0.
        let numbers = if text.starts_with("0.") { 3 } else { 2 };
        let end = text.match_indices('.').nth(numbers - 1).map_or(text.len(), |(at, _)| at);
        let wanted = &text[..end];
        let is_it = |one: &&Self| one.as_str() == wanted || one.short() == wanted;
        Self::ALL.iter().rev().find(is_it).copied()
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value for Release {
    fn parse(text: Option<&str>) -> Option<Self> {
        Self::parse(text?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_with_or_without_its_patch_and_step() {
        let cases = [
            ("0.8.0", Some(Release::V0_8_0)),
            ("0.8.2.2", Some(Release::V0_8_2)),
            ("0.9.0.1", Some(Release::V0_9_0)),
            ("0.10.0-IV0", Some(Release::V0_10_0_IV0)),
            ("0.10.0", Some(Release::V0_10_0_IV1)),
            ("0.10.2.1", Some(Release::V0_10_2_IV0)),
            ("1.0", Some(Release::V1_0_IV0)),
            ("2.4-IV0", Some(Release::V2_4_IV0)),
            ("2.4", Some(Release::V2_4_IV1)),
            ("2.4.1", Some(Release::V2_4_IV1)),
            (" 3.9 ", Some(Release::V3_9_IV0)),
            ("3.9.2", Some(Release::V3_9_IV0)),
            ("3.9-IV0", Some(Release::V3_9_IV0)),
            ("3.9-IV1", None),
            ("4.0", None),
            ("0.7.0", None),
            ("0.8", None),
            ("3", None),
            ("", None),
            ("newest", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Release::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_step_reads_back_as_printed_and_the_last_is_the_newest() {
        for release in Release::ALL {
            assert_eq!(Release::parse(&release.to_string()), Some(*release));
        }
        assert!(Release::ALL.is_sorted());
        assert_eq!(Release::ALL.last(), Some(&Release::NEWEST));
        assert_eq!(Release::NEWEST.to_string(), "3.9-IV0");
    }
}
