//! `--metrics-file`: counters of runs, for the textfile collector of the Prometheus node exporter.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

/// The counters, and their descriptions.
const COUNTERS: [(&str, &str); 4] = [
    ("redlock_runs_total", "Commands that ran under the lock."),
    ("redlock_skips_total", "Runs that were skipped because another holder had the lock."),
    ("redlock_losses_total", "Locks that were lost before their commands had ended."),
    ("redlock_held_seconds_total", "How long the lock was held."),
];

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Run {
    /// The command ran, and the lock was held for this time.
    Ran { held: Duration, is_lost: bool },
    /// Another holder had the lock.
    Skipped,
}

/// Adds a run to the counters in a file.
pub(super) fn add(file: &Path, resource: &str, run: Run) -> io::Result<()> {
    // Runs of several names may share the file. It is replaced as a whole, so that nobody ever reads half of it.
    let lock = File::options().create(true).append(true).open(beside(file, "lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut counters = match fs::read_to_string(file) {
        Ok(text) if is_ours(&text) => read(&text),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "redlock did not write this file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let added = match run {
        Run::Ran { held, is_lost } => [1.0, 0.0, f64::from(u8::from(is_lost)), held.as_secs_f64()],
        Run::Skipped => [0.0, 1.0, 0.0, 0.0],
    };
    for ((name, _), more) in COUNTERS.iter().zip(added) {
        *counters.entry(((*name).to_owned(), escaped(resource))).or_insert(0.0) += more;
    }
    // A name that nobody can predict, because another user may write to this folder.
    let random = RandomState::new().hash_one(0_u8);
    let new = beside(file, &format!("{random:016x}.new"));
    let mut written = File::create_new(&new)?;
    let replaced = written.write_all(text(&counters).as_bytes()).and_then(|()| fs::rename(&new, file));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// Returns whether a file contains these counters and nothing else.
fn is_ours(text: &str) -> bool {
    let is_ours = |line: &str| {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        let name = name.split([' ', '{']).next().unwrap_or_default();
        COUNTERS.iter().any(|(counter, _)| *counter == name)
    };
    text.lines().filter(|line| !line.trim().is_empty()).all(is_ours)
}

type Counters = BTreeMap<(String, String), f64>;

/// Returns the name of a file next to this one that the collector does not read.
fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn read(text: &str) -> Counters {
    let counter = |line: &str| {
        let (name, rest) = line.split_once("{resource=\"")?;
        let (resource, value) = rest.rsplit_once("\"} ")?;
        Some(((name.to_owned(), resource.to_owned()), value.trim().parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

fn text(counters: &Counters) -> String {
    let mut text = String::new();
    for (name, help) in COUNTERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for ((_, resource), value) in counters.iter().filter(|((counter, _), _)| counter == name) {
            let _ = writeln!(text, "{name}{{resource=\"{resource}\"}} {value}");
        }
    }
    text
}

/// Escapes the value of a label for the format.
fn escaped(resource: &str) -> String {
    resource.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up_and_names_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("redlock.prom");
        let held = Duration::from_millis(1500);
        add(&file, "a", Run::Ran { held, is_lost: false }).unwrap();
        add(&file, "a", Run::Ran { held, is_lost: true }).unwrap();
        add(&file, "\"b\"\n", Run::Skipped).unwrap();
        add(&file, "\"b\"\n", Run::Skipped).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        for line in [
            "# TYPE redlock_runs_total counter",
            "redlock_runs_total{resource=\"a\"} 2",
            "redlock_losses_total{resource=\"a\"} 1",
            "redlock_held_seconds_total{resource=\"a\"} 3",
            "redlock_skips_total{resource=\"\\\"b\\\"\\n\"} 2",
            "redlock_runs_total{resource=\"\\\"b\\\"\\n\"} 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
        let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["redlock.prom", "redlock.prom.lock"]);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("redlock.prom");
        for text in ["node_load1 3\n", "# HELP redlock_runs_total x\nroot:x:0:0\n"] {
            fs::write(&file, text).unwrap();
            assert!(add(&file, "a", Run::Skipped).is_err());
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        fs::write(&file, "").unwrap();
        add(&file, "a", Run::Skipped).unwrap();
    }
}
