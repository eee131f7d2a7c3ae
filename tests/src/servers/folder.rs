//! A server's own folder, which is removed with it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};

use super::{background, clock, owner::Owner};

const PREFIX: &str = "redlock-test-";

/// A folder in the system's temporary folder, deleted on drop. Its name contains the process ID of its owner.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates the folder with these files. The server may run as another user, so everyone may write there.
    pub(super) fn create(files: &[(String, String)]) -> Result<Self> {
        ensure!(!background::is_interrupted(), "interrupted");
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Self { path: env::temp_dir().join(format!("{PREFIX}{}-{number}", process::id())) };
        fs::create_dir(&folder.path).with_context(|| format!("creating {}", folder.path.display()))?;
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o777))?;
        for (name, text) in files {
            let file = folder.path.join(name);
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the folders of processes that have ended.
    pub(super) fn sweep() {
        remove_where(|pid| Owner::of_this_host(pid).is_gone());
    }

    /// Deletes the folders of this process. Returns how many there were.
    pub(super) fn remove_own() -> usize {
        remove_where(|pid| Owner::of_this_host(pid).is_this_process())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(folder: &Path) {
    clock::forget_processes(folder);
    let _ = fs::remove_dir_all(folder);
}

fn remove_where(condemned: impl Fn(i32) -> bool) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if pid.is_some_and(&condemned) {
            remove(&entry.path());
            removed += 1;
        }
    }
    removed
}
