//! The container engine, through its command line.

use std::{cell::OnceCell, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::command::output;

/// An engine that answers.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Why the first pull failed, so that no other pull has to fail.
    no_registry: OnceCell<String>,
}

impl Engine {
    /// Returns `None` if there is no engine, or none that runs.
    pub(crate) fn find() -> Option<Self> {
        let mut version = Command::new("docker");
        version.args(["version", "--format", "{{.Server.Version}}"]);
        output(&mut version).is_ok().then(|| Self { no_registry: OnceCell::new() })
    }

    pub(crate) fn has(&self, image: &str) -> bool {
        output(Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", image])).is_ok()
    }

    pub(crate) fn pull(&self, image: &str) -> Result<()> {
        if let Some(reason) = self.no_registry.get() {
            bail!("{reason}");
        }
        println!("pulling {image}");
        output(Command::new("docker").args(["pull", "--quiet", image])).map(drop).inspect_err(|error| {
            let _ = self.no_registry.set(format!("{error:#}"));
        })
    }

    /// Makes an image from a tree of files in a tar archive. `server` is the program that it starts.
    pub(crate) fn import(&self, archive: &Path, image: &str, server: &str) -> Result<()> {
        let mut import = Command::new("docker");
        import.arg("import");
        for change in [
            "USER 999:999",
            "WORKDIR /tmp",
            "ENV PATH=/usr/bin",
            "EXPOSE 6379",
            "LABEL org.opencontainers.image.description=\"a server for tests, built locally\"",
            &format!("ENTRYPOINT [\"/usr/bin/{server}\"]"),
        ] {
            import.args(["--change", change]);
        }
        output(import.arg(archive).arg(image))?;
        // A server that cannot start is found here and not in the middle of the tests.
        output(Command::new("docker").args(["run", "--rm", image, "--version"])).map(drop)
    }
}
