//! The five records that every fixture holds; see `tests/fixtures/README.md`.

use broker_protocol::quantity::TimestampMs;
use broker_protocol::record::batch::Compression;

/// The timestamp of the first record.
const FIRST: i64 = 1_600_000_000_000;

/// The timestamp that a broker gave.
pub(crate) const APPEND_TIME: TimestampMs = TimestampMs(FIRST + 50);

/// The codecs and their names in the fixtures.
pub(crate) const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

/// One record, as it was given to the library that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) timestamp: TimestampMs,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A timestamp from the first on, a key and a value.
type Row<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

/// Lists the records for a magic and a codec.
pub(crate) fn five_records(magic: i8, codec: Compression) -> Vec<Given> {
    let long = if codec == Compression::None { 20 } else { 70_000 };
    let long: Vec<u8> = b"ottla-".iter().copied().cycle().take(long).collect();
    let rows: [Row<'_>; 5] = [
        (0, Some(b"key-0"), Some(b"value-0")),
        (7, None, Some(b"")),
        (3, Some(b""), None),
        (9, Some(b"key-3"), Some(&long)),
        (1, Some(b"key-4"), Some(b"last")),
    ];
    let mut records: Vec<Given> = rows
        .into_iter()
        .map(|(delta, key, value)| Given {
            timestamp: TimestampMs(if magic == 0 { -1 } else { FIRST + delta }),
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        })
        .collect();
    if magic == 2 {
        records[0].headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
    }
    records
}
