//! Whose directory it is: `meta.properties`, with the broker's id and the cluster's.
//!
//! A broker refuses a directory of another cluster or another broker, so that a disk mounted in the
//! wrong place destroys nothing; the comparison is the caller's. All log directories of a broker carry
//! the same file. Keys that this code does not know are kept.
//!
//! Source: Kafka 3.9 `MetaProperties` version 0 (`ZooKeeper` mode) and Java's `Properties` format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use broker_protocol::quantity::{BrokerId, TimestampMs};

use crate::fs::{Fs, read_file, replace_file};

/// The file's name in a log directory.
pub const META_PROPERTIES_FILE: &str = "meta.properties";

/// Written by brokers in `ZooKeeper` mode; version 1 is `KRaft`'s.
const VERSION: &str = "0";
/// A few lines; a damaged length cannot fill memory.
const SIZE_MAX: u64 = 64 * 1024;

const VERSION_KEY: &str = "version";
const BROKER_ID_KEY: &str = "broker.id";
const CLUSTER_ID_KEY: &str = "cluster.id";

/// The identity of a log directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// The broker, if the directory was ever used by one.
    pub broker_id: Option<BrokerId>,
    /// The cluster.
    pub cluster_id: Option<String>,
    /// Other keys, kept as they were.
    pub others: BTreeMap<String, String>,
}

/// Why `meta.properties` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MetaPropertiesError {
    /// The disk failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file's path.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// The directory was formatted by another kind of broker, such as one in `KRaft` mode.
    #[error("{} has version {version:?}, not {VERSION}", path.display())]
    Version {
        /// The file's path.
        path: PathBuf,
        /// What it says; empty if nothing.
        version: String,
    },
    /// The file is not text, or its broker id is no number.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file's path.
        path: PathBuf,
    },
}

impl MetaProperties {
    /// Reads the identity of `dir`; `None` if it has none yet.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, MetaPropertiesError> {
        let path = dir.join(META_PROPERTIES_FILE);
        let bytes = match read_file(fs, &path, SIZE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MetaPropertiesError::Io { operation: "read", path, source }),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(MetaPropertiesError::Damaged { path });
        };
        let mut others = parse(&text);
        let version = others.remove(VERSION_KEY).unwrap_or_default();
        if version != VERSION {
            return Err(MetaPropertiesError::Version { path, version });
        }
        let broker_id = match others.remove(BROKER_ID_KEY).map(|id| id.parse()) {
            None => None,
            Some(Ok(id)) => Some(BrokerId(id)),
            Some(Err(_)) => return Err(MetaPropertiesError::Damaged { path }),
        };
        Ok(Some(Self { broker_id, cluster_id: others.remove(CLUSTER_ID_KEY), others }))
    }

    /// Replaces the identity of `dir`, durably. `now` stands in the file's comment.
    pub fn write(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        now: TimestampMs,
    ) -> Result<(), MetaPropertiesError> {
        let path = dir.join(META_PROPERTIES_FILE);
        let text = self.render(now);
        replace_file(fs, &path, text.as_bytes()).map_err(|source| MetaPropertiesError::Io {
            operation: "write",
            path,
            source,
        })
    }

    fn render(&self, now: TimestampMs) -> String {
        let mut text = format!("#\n#{}\n", java_date(now));
        let broker_id = self.broker_id.map(|id| (BROKER_ID_KEY, id.to_string()));
        let cluster_id = self.cluster_id.clone().map(|id| (CLUSTER_ID_KEY, id));
        let others = self.others.iter().map(|(key, value)| (key.as_str(), value.clone()));
        let known = [broker_id, Some((VERSION_KEY, VERSION.to_owned())), cluster_id];
        for (key, value) in known.into_iter().flatten().chain(others) {
            // Writing to a `String` cannot fail.
            _ = writeln!(text, "{key}={}", escape(&value));
        }
        text
    }
}

/// Escapes what Java's `Properties` would read as something else.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\\' | '#' | '!' | '=' | ':' => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Reads `key=value` lines; the first unescaped `=` or `:` ends the key.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (mut key, mut value, mut in_key) = (String::new(), String::new(), true);
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            let read = match character {
                '\\' => {
                    characters.next().map_or('\\', |next| if next == 'n' { '\n' } else { next })
                }
                '=' | ':' if in_key => {
                    in_key = false;
                    continue;
                }
                other => other,
            };
            if in_key { key.push(read) } else { value.push(read) }
        }
        properties.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    properties
}

/// Formats a time as Java's `Date` does in UTC: `Fri Nov 21 05:03:42 UTC 2026`.
fn java_date(now: TimestampMs) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.0.max(0) / 1000;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        WEEKDAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Open;
    use crate::fs::faulty::FaultyFs;
    use std::io::IoSlice;

    fn directory() -> (FaultyFs, &'static Path) {
        let fs = FaultyFs::new(1);
        let dir = Path::new("/data");
        fs.create_dir_all(dir).unwrap();
        (fs, dir)
    }

    fn put(fs: &dyn Fs, text: &str) {
        let file = fs.open(Path::new("/data/meta.properties"), Open::Truncate).unwrap();
        file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0).unwrap();
    }

    /// The text is what Kafka 3.9.2 wrote.
    #[test]
    fn kafkas_file_is_read_and_written_byte_for_byte() {
        let (fs, dir) = directory();
        let text = "#\n#Sat Nov 21 05:03:42 UTC 2026\nbroker.id=7\nversion=0\n\
                    cluster.id=h3jeVR5FTYmQQYDo5gtoRg\n";
        put(&fs, text);
        let read = MetaProperties::read(&fs, dir).unwrap().unwrap();
        assert_eq!(read.broker_id, Some(BrokerId(7)));
        assert_eq!(read.cluster_id.as_deref(), Some("h3jeVR5FTYmQQYDo5gtoRg"));
        assert_eq!(read.render(TimestampMs(1_795_237_422_000)), text);
    }

    #[test]
    fn odd_values_and_unknown_keys_survive_a_rewrite() {
        let (fs, dir) = directory();
        let others = BTreeMap::from([("directory.id".to_owned(), "a=b:c\\d".to_owned())]);
        let written =
            MetaProperties { broker_id: None, cluster_id: Some("#x=\ny".to_owned()), others };
        written.write(&fs, dir, TimestampMs(0)).unwrap();
        assert_eq!(MetaProperties::read(&fs, dir).unwrap(), Some(written));
    }

    #[test]
    fn absence_other_versions_and_damage_are_told_apart() {
        let (fs, dir) = directory();
        assert_eq!(MetaProperties::read(&fs, dir).unwrap(), None);
        put(&fs, "version=1\nnode.id=1\n");
        let error = MetaProperties::read(&fs, dir).unwrap_err();
        assert!(matches!(error, MetaPropertiesError::Version { version, .. } if version == "1"));
        put(&fs, "version=0\nbroker.id=x\n");
        let error = MetaProperties::read(&fs, dir).unwrap_err();
        assert!(matches!(error, MetaPropertiesError::Damaged { .. }));
    }

    #[test]
    fn dates_are_javas() {
        for (seconds, expected) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_709_251_199, "Thu Feb 29 23:59:59 UTC 2024"),
            (4_107_542_399, "Sun Feb 28 23:59:59 UTC 2100"),
        ] {
            assert_eq!(java_date(TimestampMs(seconds * 1000)), expected);
        }
    }
}
