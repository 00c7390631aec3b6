//! The promises of the faulty disk itself.

use super::*;
use crate::fs::{read_file, replace_file};

fn write(fs: &FaultyFs, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.open(Path::new(path), Open::Create).unwrap();
    file.write_all_at(&mut [IoSlice::new(bytes)], 0).unwrap();
    file
}

fn read(fs: &FaultyFs, path: &str) -> io::Result<Vec<u8>> {
    read_file(fs, Path::new(path), 1 << 20)
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in 0..100 {
        let fs = FaultyFs::new(seed);
        write(&fs, "/a", b"kept").sync_data().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        write(&fs, "/b", b"perhaps");
        assert_eq!(read(&fs.crash(), "/a").unwrap(), b"kept");
        assert_eq!(read(&fs, "/b").unwrap(), b"perhaps", "the disk itself goes on");
    }
}

#[test]
fn synced_bytes_are_lost_with_an_unsynced_name() {
    let outcomes: Vec<bool> = (0..50)
        .map(|seed| {
            let fs = FaultyFs::new(seed);
            write(&fs, "/a", b"bytes").sync_data().unwrap();
            fs.crash().exists(Path::new("/a")).unwrap()
        })
        .collect();
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
}

#[test]
fn unsynced_writes_tear_at_sectors_and_only_there() {
    let (mut has_torn, mut has_short) = (false, false);
    for seed in 0..200 {
        let fs = FaultyFs::new(seed);
        let file = write(&fs, "/a", &[1; 2048]);
        file.sync_data().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(&mut [IoSlice::new(&[2; 1024]), IoSlice::new(&[2; 2048])], 0).unwrap();
        let bytes = read(&fs.crash(), "/a").unwrap();
        assert!((2048..=3072).contains(&bytes.len()));
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never mixed");
        }
        has_torn |= bytes.windows(2).any(|pair| pair == [2, 1]);
        has_short |= !bytes.len().is_multiple_of(512);
    }
    assert!(has_torn && has_short);
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let fs = FaultyFs::new(seed);
        for number in 0..20 {
            write(&fs, &format!("/{number}"), &[number; 1500]);
        }
        format!("{:?}", fs.crash())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_file_is_replaced_whole_wherever_the_disk_breaks() {
    let path = Path::new("/a");
    for seed in 0..20 {
        for point in 0..8 {
            let fs = FaultyFs::new(seed);
            replace_file(&fs, path, &[1; 1000]).unwrap();
            fs.fail_from(fs.operations() + point, Failure::Broken, true);
            let outcome = replace_file(&fs, path, &[2; 3000]);
            let survivor = read(&fs.crash(), "/a").unwrap();
            let is_new = survivor == [2; 3000];
            assert!(is_new || survivor == [1; 1000], "neither old nor new");
            assert!(is_new || outcome.is_err(), "success was promised");
        }
    }
}

#[test]
fn a_failed_sync_loses_its_bytes_though_a_second_one_succeeds() {
    let fs = FaultyFs::new(3);
    let file = write(&fs, "/a", b"old");
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&mut [IoSlice::new(b"new")], 0).unwrap();
    fs.fail_from(fs.operations(), Failure::Broken, false);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(read(&fs.crash(), "/a").unwrap(), b"old");
}

#[test]
fn a_full_disk_refuses_what_needs_space_and_nothing_else() {
    let fs = FaultyFs::new(1);
    let file = write(&fs, "/a", b"bytes");
    fs.fail_from(0, Failure::Full, true);
    let error = file.write_all_at(&mut [IoSlice::new(b"more")], 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    file.set_len(5).unwrap();
    file.sync_data().unwrap();
    fs.rename(Path::new("/a"), Path::new("/b")).unwrap();
    fs.heal();
    file.write_all_at(&mut [IoSlice::new(b"more")], 5).unwrap();
    assert_eq!(read(&fs, "/b").unwrap(), b"bytesmore");
}

#[test]
fn cut_bytes_never_come_back_when_the_file_grows() {
    let fs = FaultyFs::new(1);
    let file = write(&fs, "/a", &[9; 2000]);
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.set_len(700).unwrap();
    file.set_len(2000).unwrap();
    let mut expected = vec![9; 700];
    expected.resize(2000, 0);
    assert_eq!(read(&fs, "/a").unwrap(), expected);
    file.sync_data().unwrap();
    assert_eq!(read(&fs.crash(), "/a").unwrap(), expected);
}

#[test]
fn directories_are_made_listed_renamed_and_removed() {
    let fs = FaultyFs::new(1);
    fs.create_dir_all(Path::new("/d/t-0")).unwrap();
    write(&fs, "/d/t-0/x", b"x");
    write(&fs, "/d/y", b"y");
    let names: Vec<(String, bool)> =
        fs.list(Path::new("/d")).unwrap().into_iter().map(|e| (e.name, e.is_dir)).collect();
    assert_eq!(names, [("t-0".to_owned(), true), ("y".to_owned(), false)]);
    fs.rename(Path::new("/d/t-0"), Path::new("/d/t-0.1-delete")).unwrap();
    assert_eq!(read(&fs, "/d/t-0.1-delete/x").unwrap(), b"x");
    fs.remove_dir_all(Path::new("/d/t-0.1-delete")).unwrap();
    assert!(!fs.exists(Path::new("/d/t-0.1-delete/x")).unwrap());
    assert_eq!(read(&fs, "/d/none").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_lock_is_held_once_until_dropped() {
    let fs = FaultyFs::new(1);
    let path = Path::new("/.lock");
    let lock = fs.lock(path).unwrap();
    assert_eq!(fs.lock(path).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    fs.lock(path).unwrap();
}
