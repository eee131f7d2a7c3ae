//! Servers in containers, through testcontainers.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context, Result, bail};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::{
        Docker,
        models::{NetworkConnectRequest, NetworkDisconnectRequest, PortBinding},
        query_parameters::{
            InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
            RemoveContainerOptionsBuilder, StartContainerOptions,
        },
    },
    core::{IntoContainerPort as _, Mount, client::docker_client_instance},
    runners::AsyncRunner,
};

use super::{
    ServerOptions, background,
    folder::Folder,
    owner::Owner,
    ports::Port,
    reply::Address,
    server::{Running, Server, Settings},
};

/// The label of each of our containers; its value is the [`Owner`].
const LABEL: &str = "redlock.test";

/// The engine's default network, on which ports are published.
const BRIDGE: &str = "bridge";

/// The official image, and the one that `cargo xtask images` builds if the official one cannot be pulled.
const OFFICIAL: &str = "redis:7";
const LOCALLY_BUILT: &str = "redlock-redis:7.0";

/// A container engine and the image to start on it.
#[derive(Debug)]
pub(super) struct Containers {
    image: String,
    tag: String,
    network: Network,
}

/// How a server in a container is reached on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
enum Network {
    /// The server listens on the host's own loopback interface: nothing is in between, and ports survive a restart.
    Host,
    /// For engines in a virtual machine, where the host network is that of the virtual machine.
    Published,
}

impl Containers {
    /// Finds the engine and the image, pulls the image if necessary, and removes what dead test runs have left behind.
    pub(super) async fn open() -> Result<Self> {
        background::run(async {
            let docker = docker_client_instance().await.context(NO_ENGINE)?;
            docker.ping().await.context(NO_ENGINE)?;
            remove_where(&docker, Owner::is_gone).await?;
            Folder::sweep();
            let (image, tag) = image(&docker).await?;
            let network = match env::var("REDLOCK_TEST_NETWORK").as_deref() {
                Ok("host") => Network::Host,
                Ok("published") => Network::Published,
                Ok(other) => bail!("REDLOCK_TEST_NETWORK is {other:?}: use host or published"),
                Err(_) if cfg!(target_os = "linux") => Network::Host,
                Err(_) => Network::Published,
            };
            Ok(Self { image, tag, network })
        })
        .await
    }

    pub(super) fn describe(&self) -> String {
        format!("containers of {}:{}", self.image, self.tag)
    }

    pub(super) async fn start(&self, options: ServerOptions) -> Result<Server> {
        let settings = Settings::new(options, false)?;
        let request = self.request(&settings);
        let container = background::run(async move { Ok(request.start().await?) }).await?;
        let address = Address::local(settings.port.as_ref().context("no port")?.number());
        let id = container.id().to_owned();
        let running = Running::Container(Container { id, handle: Some(Box::new(container)) });
        let server = Server { running, settings, address };
        server.until_it_answers().await?;
        Ok(server)
    }

    fn request(&self, settings: &Settings) -> ContainerRequest<GenericImage> {
        let network = match self.network {
            // A container cannot be disconnected from the host's own loopback interface.
            Network::Host if settings.options.can_be_cut_off => Network::Published,
            network => network,
        };
        let bind = match network {
            Network::Host => "127.0.0.1",
            Network::Published => "0.0.0.0",
        };
        let ports: Vec<u16> = settings.port.iter().chain(&settings.spare_port).map(Port::number).collect();
        let mut image = GenericImage::new(&self.image, &self.tag);
        for port in &ports {
            image = image.with_exposed_port(port.tcp());
        }
        // No name of the binary: official and local images pass the arguments to their own entry point.
        let mut request = image
            .with_cmd(settings.arguments(bind, "/tmp"))
            .with_label(LABEL, Owner::this_process().to_string())
            .with_startup_timeout(Duration::from_secs(60));
        for (name, text) in settings.environment() {
            request = request.with_env_var(name, text);
        }
        if let Some(folder) = &settings.folder {
            let path = folder.path().display().to_string();
            request = request.with_mount(Mount::bind_mount(path.clone(), path));
        }
        match network {
            Network::Host => request.with_network("host"),
            Network::Published => {
                let publish = |port: &u16| {
                    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some(port.to_string()) };
                    (format!("{port}/tcp"), Some(vec![binding]))
                };
                let bindings: HashMap<_, _> = ports.iter().map(publish).collect();
                request.with_network(BRIDGE).with_host_config_modifier(move |host| {
                    host.publish_all_ports = Some(false);
                    host.port_bindings = Some(bindings.clone());
                })
            }
        }
    }
}

const NO_ENGINE: &str = "no container engine answers: install and start Docker, or set DOCKER_HOST";

/// Returns the image in `REDLOCK_TEST_IMAGE`, or otherwise the official one, or the local one if the official one is
/// not present and cannot be pulled.
async fn image(docker: &Docker) -> Result<(String, String)> {
    if let Ok(wanted) = env::var("REDLOCK_TEST_IMAGE")
        && !wanted.is_empty()
    {
        let (image, tag) = name_and_tag(&wanted);
        if docker.inspect_image(&wanted).await.is_err() {
            pull(&image, &tag).await.with_context(|| {
                format!("REDLOCK_TEST_IMAGE is {wanted}: it is not here and cannot be pulled; run `cargo xtask images`")
            })?;
        }
        return Ok((image, tag));
    }
    for candidate in [OFFICIAL, LOCALLY_BUILT] {
        if docker.inspect_image(candidate).await.is_ok() {
            return Ok(name_and_tag(candidate));
        }
    }
    let (image, tag) = name_and_tag(OFFICIAL);
    pull(&image, &tag).await.with_context(|| {
        format!("the image {OFFICIAL} cannot be pulled: run `cargo xtask images`, or set REDLOCK_TEST_IMAGE")
    })?;
    Ok((image, tag))
}

async fn pull(image: &str, tag: &str) -> Result<()> {
    eprintln!("pulling {image}:{tag}");
    let _ = GenericImage::new(image, tag).pull_image().await?;
    Ok(())
}

fn name_and_tag(reference: &str) -> (String, String) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (reference.to_owned(), "latest".to_owned()),
    }
}

/// A container, running or stopped.
pub(super) struct Container {
    id: String,
    handle: Option<Box<ContainerAsync<GenericImage>>>,
}

impl Container {
    /// Sends a signal to the server. It uses `STOP` and `CONT` instead of the engine's pause, because a paused
    /// container can be neither stopped nor removed.
    pub(super) async fn signal(&self, signal: &'static str) -> Result<()> {
        self.with_engine(move |docker, id| async move {
            let options = KillContainerOptionsBuilder::new().signal(signal).build();
            docker.kill_container(&id, Some(options)).await
        })
        .await
        .with_context(|| format!("sending SIG{signal} to container {}", self.id))
    }

    pub(super) async fn stop(&self) -> Result<()> {
        if self.exit_code().await?.is_some() {
            return Ok(());
        }
        self.signal("KILL").await?;
        // The engine answers once the signal is sent, shortly before the server has ended.
        while self.exit_code().await?.is_none() {
            background::sleep(Duration::from_millis(3)).await?;
        }
        Ok(())
    }

    pub(super) async fn start(&self) -> Result<()> {
        // For a running container, the engine answers "not modified", which is not an error.
        self.with_engine(|docker, id| async move { docker.start_container(&id, None::<StartContainerOptions>).await })
            .await
            .with_context(|| format!("starting container {}", self.id))
    }

    pub(super) async fn cut_off(&self) -> Result<()> {
        self.with_engine(|docker, container| async move {
            let request = NetworkDisconnectRequest { container, force: Some(true) };
            docker.disconnect_network(BRIDGE, request).await
        })
        .await
        .with_context(|| format!("disconnecting container {}", self.id))
    }

    pub(super) async fn reconnect(&self) -> Result<()> {
        self.with_engine(|docker, container| async move {
            let request = NetworkConnectRequest { container, ..NetworkConnectRequest::default() };
            docker.connect_network(BRIDGE, request).await
        })
        .await
        .with_context(|| format!("connecting container {}", self.id))
    }

    /// Returns the end of the log if the server does not run.
    pub(super) async fn why_it_ended(&self) -> Result<Option<String>> {
        let Some(code) = self.exit_code().await? else { return Ok(None) };
        let Some(handle) = &self.handle else { return Ok(None) };
        // Errors in the arguments are printed to stderr, and everything else to stdout.
        let mut log = handle.stdout_to_vec().await.unwrap_or_default();
        log.extend(handle.stderr_to_vec().await.unwrap_or_default());
        let mut lines: Vec<_> = String::from_utf8_lossy(&log).lines().rev().take(15).map(str::to_owned).collect();
        lines.reverse();
        Ok(Some(format!("{}\n(exit code {code})", lines.join("\n"))))
    }

    async fn exit_code(&self) -> Result<Option<i64>> {
        let inspected = self
            .with_engine(
                |docker, id| async move { docker.inspect_container(&id, None::<InspectContainerOptions>).await },
            )
            .await?;
        let state = inspected.state.context("the engine reports no state")?;
        Ok(if state.running == Some(true) { None } else { Some(state.exit_code.unwrap_or(-1)) })
    }

    async fn with_engine<T, F, W>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Docker, String) -> W + Send + 'static,
        W: Future<Output = Result<T, testcontainers::bollard::errors::Error>> + Send,
    {
        let id = self.id.clone();
        background::run(async move { Ok(work(docker_client_instance().await?, id).await?) }).await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // The next sweep notices a failure, and so does the last step of `cargo xtask test-all`.
            background::run_to_its_end(async move {
                let _ = handle.rm().await;
            });
        }
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Container").field(&self.id).finish()
    }
}

/// Removes all containers of this process. Returns how many there were.
pub(super) async fn remove_own() -> Result<usize> {
    let docker = docker_client_instance().await?;
    remove_where(&docker, Owner::is_this_process).await
}

async fn remove_where(docker: &Docker, condemned: impl Fn(&Owner) -> bool) -> Result<usize> {
    let filters = HashMap::from([("label", vec![LABEL])]);
    let all =
        docker.list_containers(Some(ListContainersOptionsBuilder::new().all(true).filters(&filters).build())).await?;
    let mut removed = 0;
    for container in all {
        let owner = container.labels.as_ref().and_then(|labels| labels.get(LABEL)).and_then(|text| text.parse().ok());
        if let (Some(id), Some(owner)) = (&container.id, owner)
            && condemned(&owner)
        {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            // Another process may be removing it at the same moment.
            let _ = docker.remove_container(id, Some(options)).await;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_at_the_tag_and_not_at_a_port() {
        let pair = |name: &str, tag: &str| (name.to_owned(), tag.to_owned());
        assert_eq!(name_and_tag("valkey/valkey:7.2"), pair("valkey/valkey", "7.2"));
        assert_eq!(name_and_tag("registry:5000/redis"), pair("registry:5000/redis", "latest"));
        assert_eq!(name_and_tag("registry:5000/redis:7"), pair("registry:5000/redis", "7"));
    }
}
