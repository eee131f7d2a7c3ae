//! The options with which a test starts a server.

/// The configuration file of a sentinel.
pub(super) const SENTINEL_FILE: &str = "sentinel.conf";

/// How a server is started. By default it keeps no data: no snapshot, no append-only file.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    pub(super) args: Vec<String>,
    pub(super) files: Vec<(String, String)>,
    pub(super) keeps_memory: bool,
    pub(super) unix_socket: bool,
    pub(super) can_be_cut_off: bool,
    pub(super) fakes_clock: bool,
    pub(super) is_sentinel: bool,
}

impl ServerOptions {
    /// Returns the options of a server that keeps no data and requires no password.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds arguments of `redis-server`, for example `["--requirepass", "secret"]`; the last one of a name wins.
    ///
    /// `{folder}` is replaced with the server's own folder, where [`file`](Self::file) puts files, and `{spare_port}`
    /// with a second free port, which [`Server::spare_port`](super::Server::spare_port) returns: `["--tls-port",
    /// "{spare_port}", "--tls-cert-file", "{folder}/server.pem"]`. Leave the main port without TLS, because it is used
    /// to check whether the server is up.
    #[must_use]
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Puts a file into the server's own folder before it starts.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Keeps keys over a stop and start: every write is synced to an append-only file. Default: keys are lost.
    #[must_use]
    pub fn keep_memory(mut self) -> Self {
        self.keeps_memory = true;
        self
    }

    /// Makes the server listen on a unix socket too; [`Server::unix_socket`](super::Server::unix_socket) returns its
    /// path.
    #[must_use]
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Makes it possible to [cut the server off](super::Server::cut_off) from its network. Containers only; check
    /// [`Servers::can_cut_off`](super::Servers::can_cut_off).
    #[must_use]
    pub fn can_be_cut_off(mut self) -> Self {
        self.can_be_cut_off = true;
        self
    }

    /// Gives the server its own wall clock, which [`Server::set_clock`](super::Server::set_clock) sets. Default: it has
    /// this machine's.
    ///
    /// Needs libfaketime, which `cargo xtask images` gets. Not every server runs with it: those built here from the
    /// packages of Debian 13 (Redis 8.0, Valkey 8.1) end when they start.
    #[must_use]
    pub fn fake_clock(mut self) -> Self {
        self.fakes_clock = true;
        self
    }

    /// Makes the server a sentinel with this configuration file, in which it also stores its state.
    #[must_use]
    pub fn sentinel(mut self, configuration: impl Into<String>) -> Self {
        self.is_sentinel = true;
        self.file(SENTINEL_FILE, configuration)
    }

    pub(super) fn is_default(&self) -> bool {
        let Self { args, files, keeps_memory, unix_socket, can_be_cut_off, fakes_clock, is_sentinel } = self;
        let has_none = !keeps_memory && !unix_socket && !can_be_cut_off && !fakes_clock && !is_sentinel;
        args.is_empty() && files.is_empty() && has_none
    }

    pub(super) fn needs_folder(&self) -> bool {
        self.unix_socket
            || self.fakes_clock
            || !self.files.is_empty()
            || self.args.iter().any(|arg| arg.contains("{folder}"))
    }

    pub(super) fn needs_spare_port(&self) -> bool {
        self.args.iter().any(|arg| arg.contains("{spare_port}"))
    }
}
