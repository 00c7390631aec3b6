//! The transaction index: its bytes, its ranges, its absence.

use std::sync::Arc;

use super::*;
use crate::fs::faulty::FaultyFs;

fn txn(first: i64, last: i64, last_stable: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id: 7,
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(last_stable),
    }
}

fn new() -> (Arc<dyn Fs>, PathBuf, TransactionIndex) {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    let path = PathBuf::from("/x.txnindex");
    let index = TransactionIndex::open(fs.clone(), path.clone(), Offset(10)).unwrap();
    (fs, path, index)
}

#[test]
fn there_is_no_file_without_an_abort() {
    let (fs, path, mut index) = new();
    index.flush().unwrap();
    index.truncate_to(Offset(0)).unwrap();
    index.rename_to(path.clone()).unwrap();
    assert!(!fs.exists(&path).unwrap());
    assert!(!index.delete().unwrap());
}

#[test]
fn entries_are_kafkas_and_are_read_again() {
    let (fs, path, mut index) = new();
    index.append(txn(5, 12, 13)).unwrap();
    index.append(txn(11, 20, 21)).unwrap();
    let bytes = read_file(fs.as_ref(), &path, 100).unwrap();
    let mut expected = vec![0, 0];
    for field in [7_i64, 5, 12, 13] {
        expected.extend(field.to_be_bytes());
    }
    assert_eq!(bytes[..34], expected);
    assert_eq!(bytes.len(), 68);
    let mut index = TransactionIndex::open(fs.clone(), path.clone(), Offset(10)).unwrap();
    assert_eq!(index.entries(), [txn(5, 12, 13), txn(11, 20, 21)]);
    index.truncate_to(Offset(20)).unwrap();
    let index = TransactionIndex::open(fs, path, Offset(10)).unwrap();
    assert_eq!(index.entries(), [txn(5, 12, 13)]);
}

#[test]
fn a_range_gets_what_overlaps_it_and_knows_when_no_more_can_come() {
    let (_, _, mut index) = new();
    index.append(txn(5, 12, 11)).unwrap();
    index.append(txn(11, 20, 21)).unwrap();
    index.append(txn(30, 40, 41)).unwrap();
    let cases: [(i64, i64, &[AbortedTxn], bool); 5] = [
        (0, 5, &[], true),
        (12, 15, &[txn(5, 12, 11), txn(11, 20, 21)], true),
        (13, 25, &[txn(11, 20, 21)], true),
        (21, 30, &[], true),
        (35, 50, &[txn(30, 40, 41)], false),
    ];
    for (start, end, transactions, is_complete) in cases {
        let expected = AbortedTxns { transactions: transactions.to_vec(), is_complete };
        assert_eq!(index.collect(Offset(start), Offset(end)), expected, "{start}..{end}");
    }
}

#[test]
fn damage_asks_for_a_rebuild() {
    let (fs, path, mut index) = new();
    index.append(txn(5, 12, 13)).unwrap();
    let file = fs.open(&path, Open::Write).unwrap();
    file.write_all_at(&mut [IoSlice::new(&[1])], 1).unwrap();
    let open = || TransactionIndex::open(fs.clone(), path.clone(), Offset(10)).unwrap_err();
    assert!(matches!(open(), IndexError::Disorder { entry: 0, .. }), "unknown version");
    file.set_len(33).unwrap();
    assert!(matches!(open(), IndexError::TornEntry { size: 33, .. }));
}
