//! The files of an image, and the archive that they are as a layer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{EntryType, Header};

use super::libraries;

/// Everything in an image, by path.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<String, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    content: Content,
    mode: u32,
    owner: u32,
}

#[derive(Debug, Clone)]
enum Content {
    /// That of a file of this machine, as it is when the layer is packed.
    Of(PathBuf),
    Text(String),
    Link(String),
    Directory,
}

impl Files {
    fn add(&mut self, path: &str, content: Content, mode: u32, owner: u32) {
        self.0.insert(path.to_owned(), Entry { content, mode, owner });
    }

    /// A file of this machine at `path`, owned by root.
    pub fn file(&mut self, path: &str, source: &Path, mode: u32) {
        self.add(path, Content::Of(source.to_owned()), mode, 0);
    }

    /// A program of this machine at `path`, and every shared library that it is started with.
    pub fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.file(path, source, 0o755);
        for library in libraries::of(source)? {
            self.file(&library.to_string_lossy(), &library, 0o755);
        }
        Ok(())
    }

    /// Every file below a directory of this machine, at the same place below `path`; owned by root.
    pub fn tree(&mut self, path: &str, source: &Path) -> Result<()> {
        let entries = fs::read_dir(source).with_context(|| format!("list {}", source.display()))?;
        for entry in entries {
            let entry = entry?;
            let place = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.tree(&place, &entry.path())?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.link(&place, &target.to_string_lossy());
            } else {
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                self.file(&place, &entry.path(), mode);
            }
        }
        Ok(())
    }

    /// A file of these words, which all may read.
    pub fn text(&mut self, path: &str, text: &str) {
        self.add(path, Content::Text(text.to_owned()), 0o644, 0);
    }

    /// A script of these lines, which all may run.
    pub fn script(&mut self, path: &str, text: &str) {
        self.add(path, Content::Text(text.to_owned()), 0o755, 0);
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, Content::Link(target.to_owned()), 0o777, 0);
    }

    /// A directory, empty but for what lies in it; those that lead to a file need not be named.
    pub fn directory(&mut self, path: &str, mode: u32, owner: u32) {
        self.add(path, Content::Directory, mode, owner);
    }

    /// What every image has: the names of root and of the ordinary user, where names are looked up, and
    /// a place for what is soon forgotten.
    pub fn base(&mut self) {
        let user = super::NOBODY_IN_PARTICULAR;
        self.text("/etc/passwd", &format!("root:x:0:0::/:\nnonroot:x:{user}:{user}::/:\n"));
        self.text("/etc/group", &format!("root:x:0:\nnonroot:x:{user}:\n"));
        self.text("/etc/nsswitch.conf", "hosts: files dns\n");
        self.directory("/tmp", 0o1777, 0);
    }

    /// Every entry, and the directories that nobody named.
    fn complete(&self) -> BTreeMap<String, Entry> {
        let mut all = self.0.clone();
        for path in self.0.keys() {
            let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            for parent in parents.filter(|parent| !parent.is_empty()) {
                let entry = || Entry { content: Content::Directory, mode: 0o755, owner: 0 };
                all.entry(parent.to_owned()).or_insert_with(entry);
            }
        }
        all
    }
}

/// The archive of all the files, sorted by path, with times of zero.
pub(super) fn pack(files: &Files) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in files.complete() {
        let Some(inside) = path.strip_prefix('/').filter(|path| !path.is_empty()) else {
            bail!("{path:?} is no absolute path of a file");
        };
        append(&mut archive, inside, &entry).with_context(|| format!("add {path}"))?;
    }
    archive.into_inner().context("end the archive")
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> Result<()> {
    let mut header = header(entry.mode);
    header.set_uid(entry.owner.into());
    header.set_gid(entry.owner.into());
    match &entry.content {
        Content::Of(source) => {
            let file = File::open(source).with_context(|| format!("open {}", source.display()))?;
            header.set_size(file.metadata()?.len());
            archive.append_data(&mut header, path, file)?;
        }
        Content::Text(text) => {
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, path, text.as_bytes())?;
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, path, target)?;
        }
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
    }
    Ok(())
}

/// The header of a file of root's and of no time.
fn header(mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// Adds `content` to an archive as a file of root's.
pub(super) fn append_bytes(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    content: impl AsRef<[u8]>,
) -> Result<()> {
    let content = content.as_ref();
    let mut header = header(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content.take(content.len() as u64))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_keep_the_mode_that_was_asked_for() -> Result<()>
    {
        let mut files = Files::default();
        files.text("/data/inside/text", "x");
        files.directory("/data/inside", 0o700, 7);
        files.link("/data/name", "inside/text");
        let bytes = pack(&files)?;
        let mut seen = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries()? {
            let entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            seen.push((path, entry.header().mode()?, entry.header().uid()?));
        }
        let expected = [
            ("data/", 0o755, 0),
            ("data/inside/", 0o700, 7),
            ("data/inside/text", 0o644, 0),
            ("data/name", 0o777, 0),
        ];
        assert_eq!(seen, expected.map(|(path, mode, owner)| (path.to_owned(), mode, owner)));
        Ok(())
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for path in ["relative", "", "/"] {
            let mut files = Files::default();
            files.text(path, "x");
            assert!(pack(&files).is_err(), "{path:?}");
        }
    }
}
