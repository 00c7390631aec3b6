//! The real file system does what the trait says.

use super::*;
use crate::fs::{read_file, remove_if_exists, replace_file};

#[test]
fn scattered_writes_land_in_order_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let file = RealFs.open(&path, Open::CreateNew).unwrap();
    let buffers = &mut [IoSlice::new(b""), IoSlice::new(b"head"), IoSlice::new(b"body")];
    file.write_all_at(buffers, 3).unwrap();
    file.write_all_at(&mut [], 0).unwrap();
    file.sync_data().unwrap();
    RealFs.sync_dir(dir.path()).unwrap();
    assert_eq!(read_file(&RealFs, &path, 100).unwrap(), b"\0\0\0headbody");
    assert_eq!(read_file(&RealFs, &path, 10).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let error = file.read_exact_at(&mut [0; 5], 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_map_and_the_file_show_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = RealFs.open(&dir.path().join("a"), Open::Create).unwrap();
    assert!(Arc::clone(&file).map(8).is_err(), "longer than the file");
    file.set_len(4096).unwrap();
    file.allocate(0, 4096).unwrap();
    let mut map = Arc::clone(&file).map(4096).unwrap();
    map.put(4000, b"mapped").unwrap();
    let mut read = [0; 6];
    file.read_exact_at(&mut read, 4000).unwrap();
    assert_eq!(&read, b"mapped");
    file.write_all_at(&mut [IoSlice::new(b"w")], 4000).unwrap();
    assert_eq!(&map.get::<6>(4000).unwrap(), b"wapped");
}

/// Method: the kernel marks a mapping of which nothing is read ahead with `rr` in `/proc/self/smaps`.
#[test]
fn nothing_is_read_ahead_of_what_a_map_touches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let file = RealFs.open(&path, Open::Create).unwrap();
    file.set_len(4096).unwrap();
    let map = Arc::clone(&file).map(4096).unwrap();
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let of_map = smaps.split_once(path.to_str().unwrap()).unwrap().1;
    let flags = of_map.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
    assert!(flags.split(' ').any(|flag| flag == "rr"), "{flags}");
    drop(map);
}

#[test]
fn a_directory_is_locked_against_a_second_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let lock = RealFs.lock(&path).unwrap();
    assert_eq!(RealFs.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    RealFs.lock(&path).unwrap();
}

#[test]
fn names_are_listed_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    RealFs.create_dir_all(&dir.path().join("t-0")).unwrap();
    let path = dir.path().join("x");
    replace_file(&RealFs, &path, b"old").unwrap();
    replace_file(&RealFs, &path, b"new").unwrap();
    let names: Vec<String> =
        RealFs.list(dir.path()).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["t-0", "x"]);
    assert_eq!(RealFs.len(&path).unwrap(), 3);
    RealFs.set_modified_ms(&path, 1_700_000_000_123).unwrap();
    assert_eq!(RealFs.modified_ms(&path).unwrap(), 1_700_000_000_123);
    assert!(remove_if_exists(&RealFs, &path).unwrap());
    assert!(!remove_if_exists(&RealFs, &path).unwrap());
    RealFs.remove_dir_all(&dir.path().join("t-0")).unwrap();
    assert!(!RealFs.exists(&dir.path().join("t-0")).unwrap());
}
