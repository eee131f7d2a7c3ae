//! The files of one server and nothing else: programs, the libraries that they load, and the loader.
//!
//! The same files make an image, and start as a process through the launcher beside them. They always use the loader of
//! the tree, since this machine's may be older than the libraries.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::command::output;

/// `<folder>/root` with the files, and `<folder>/<server>`, a script that starts it.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
    server: String,
}

impl Tree {
    pub(crate) fn at(folder: PathBuf, server: String) -> Self {
        Self { folder, server }
    }

    pub(crate) fn launcher(&self) -> PathBuf {
        self.folder.join(&self.server)
    }

    pub(crate) fn answers(&self) -> bool {
        output(Command::new(self.launcher()).arg("--version")).is_ok()
    }

    /// Builds it from programs, with the names that they get, and the unpacked packages with their libraries. It is
    /// made under `work` and moved to its place when it is complete.
    pub(crate) fn build(&self, work: &Path, unpacked: &Path, programs: &[(PathBuf, String)]) -> Result<()> {
        let made = work.join("made");
        let root = made.join("root");
        for folder in ["usr/bin", "lib", "tmp", "etc"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let folders = library_folders(unpacked)?;
        let loader = loader(&folders)?;
        let path = env::join_paths(&folders)?;
        let mut interpreter = None;
        for (program, name) in programs {
            copy(program, &root.join("usr/bin").join(name), 0o755)?;
            let mut list = Command::new(&loader);
            let listed = output(list.arg("--library-path").arg(&path).arg("--list").arg(program))?;
            for library in Loaded::parse(&listed)? {
                match library {
                    Loaded::Library(file) => {
                        let name = Path::new(&file).file_name().context("a library without a name")?;
                        copy(Path::new(&file), &root.join("lib").join(name), 0o644)?;
                    }
                    Loaded::Loader(place) => {
                        let place = place.trim_start_matches('/').to_owned();
                        let target = root.join(&place);
                        fs::create_dir_all(target.parent().context("a loader without a folder")?)?;
                        copy(&loader, &target, 0o755)?;
                        interpreter = Some(place);
                    }
                }
            }
        }
        let interpreter = interpreter.context("the server has no loader")?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:\nserver:x:999:999:server:/tmp:\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\nserver:x:999:\n")?;
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        let launcher = made.join(&self.server);
        fs::write(&launcher, self.script(&interpreter))?;
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755))?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::rename(&made, &self.folder).with_context(|| format!("moving the server to {}", self.folder.display()))
    }

    /// Packs the files into an archive, with the same bytes every time.
    pub(crate) fn archive(&self, archive: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--create", "--file"]);
        output(tar.arg(archive).arg("--directory").arg(self.folder.join("root")).arg(".")).map(drop)
    }

    fn script(&self, interpreter: &str) -> String {
        format!(
            "#!/bin/sh\n\
             root=$(dirname \"$(readlink -f \"$0\")\")/root\n\
             exec \"$root/{interpreter}\" --library-path \"$root/lib\" \"$root/usr/bin/{}\" \"$@\"\n",
            self.server
        )
    }
}

/// A file that the loader would load.
#[derive(Debug, PartialEq, Eq)]
enum Loaded {
    Library(String),
    /// The path at which the program expects its loader.
    Loader(String),
}

impl Loaded {
    /// Parses lines like `libssl.so.3 => /tree/libssl.so.3 (0x7f)`, and one like `/lib64/ld-linux-x86-64.so.2 => ...
    /// (0x7f)`.
    fn parse(listed: &str) -> Result<Vec<Self>> {
        let mut loaded = Vec::new();
        for line in listed.lines().map(str::trim) {
            ensure!(!line.contains("not found"), "a library is missing: {line}");
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [name, ..] if name.starts_with('/') => loaded.push(Self::Loader((*name).to_owned())),
                [_, "=>", file, ..] => loaded.push(Self::Library((*file).to_owned())),
                // The kernel's own, which is not a file.
                _ => {}
            }
        }
        Ok(loaded)
    }
}

/// Returns the folders of the tree that hold shared libraries.
fn library_folders(unpacked: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for parent in ["lib", "usr/lib", "usr/lib64"].map(|folder| unpacked.join(folder)) {
        let inner = fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path());
        let multiarch = inner.filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-gnu"));
        folders.extend(multiarch);
        if parent.is_dir() {
            folders.push(parent);
        }
    }
    ensure!(!folders.is_empty(), "the packages contain no libraries");
    Ok(folders)
}

/// Returns the real file: links to it in packages lead out of the tree.
fn loader(folders: &[PathBuf]) -> Result<PathBuf> {
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let is_loader = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("ld-linux") && fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
    };
    entries.map(|entry| entry.path()).find(is_loader).context("the packages contain no loader")
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_a_loader_is_read_and_a_missing_library_is_an_error() {
        let listed = "\tlinux-vdso.so.1 (0x7f)\n\tlibm.so.6 => /t/libm.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 => /t/ld (0x7f)\n";
        assert_eq!(
            Loaded::parse(listed).unwrap(),
            [Loaded::Library("/t/libm.so.6".into()), Loaded::Loader("/lib64/ld-linux-x86-64.so.2".into())]
        );
        assert!(Loaded::parse("\tlibssl.so.3 => not found\n").is_err());
    }
}
