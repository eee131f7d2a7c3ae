//! Looks up the addresses of hosts, on threads that nothing waits for.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::watch;

/// The addresses, or why there are none.
type Outcome = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

/// Looks up the addresses of a host, in the order in which the system returns them.
///
/// A lookup blocks its thread for as long as a DNS server does not answer, often for ten seconds or more. A runtime
/// waits for its own threads when it is dropped, so each lookup has a separate thread, which ends with the process.
/// There is at most one lookup per host: callers of the same host share it.
///
/// # Errors
///
/// If the host has no address, or the system cannot look it up.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static LOOKUPS: LazyLock<Lookups> = LazyLock::new(Lookups::default);
    LOOKUPS.resolve(host, port, look_up).await
}

/// Looks up a host through the system. A link-local address has a scope, which only a `SocketAddr` includes.
fn look_up(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// The lookups in progress, by host.
#[derive(Default)]
struct Lookups(Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>>);

impl Lookups {
    async fn resolve(
        &'static self,
        host: &str,
        port: u16,
        look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut lookup = self.join(host, look_up)?;
        let outcome = lookup.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        match outcome {
            Some(Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.iter_mut().for_each(|address| address.set_port(port));
                Ok(addresses)
            }
            Some(Err((kind, text))) => Err(io::Error::new(kind, text)),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
        }
    }

    /// Returns the lookup of this host that is in progress, or starts one.
    fn join(
        &'static self,
        host: &str,
        look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
    ) -> io::Result<watch::Receiver<Option<Outcome>>> {
        let mut running = self.running();
        // If its thread has ended, so has the lookup.
        if let Some(lookup) = running.get(host).filter(|lookup| lookup.has_changed().is_ok()) {
            return Ok(lookup.clone());
        }
        let (sender, receiver) = watch::channel(None);
        let name = host.to_owned();
        thread::Builder::new().name("redlock-dns".to_owned()).spawn(move || {
            let outcome = look_up(&name).map_err(|error| (error.kind(), error.to_string()));
            self.running().remove(&name);
            sender.send_replace(Some(outcome));
        })?;
        running.insert(host.to_owned(), receiver.clone());
        Ok(receiver)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv6Addr, SocketAddrV6},
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::runtime::Builder;

    use super::*;

    fn lookups() -> &'static Lookups {
        Box::leak(Box::default())
    }

    fn hangs(_: &str) -> io::Result<Vec<SocketAddr>> {
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_runtime_ends_while_a_lookup_hangs() {
        let lookups = lookups();
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.spawn(lookups.resolve("a", 1, hangs));
        while lookups.running().is_empty() {
            thread::yield_now();
        }
        // A runtime waits for its own threads when it is dropped.
        let (sender, dropped) = std::sync::mpsc::channel();
        thread::spawn(move || {
            drop(runtime);
            let _ = sender.send(());
        });
        assert_eq!(dropped.recv_timeout(Duration::from_secs(30)), Ok(()));
    }

    #[tokio::test]
    async fn callers_of_one_host_share_one_thread() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        static LET_GO: Mutex<()> = Mutex::new(());
        fn counts(_: &str) -> io::Result<Vec<SocketAddr>> {
            THREADS.fetch_add(1, Ordering::SeqCst);
            drop(LET_GO.lock());
            Ok(vec![([127, 0, 0, 1], 0).into()])
        }

        let lookups = lookups();
        let all: Vec<_> = {
            let _held = LET_GO.lock().unwrap();
            (0..100).map(|_| lookups.join("a", counts).unwrap()).collect()
        };
        for mut lookup in all {
            assert!(lookup.wait_for(Option::is_some).await.is_ok_and(|outcome| matches!(&*outcome, Some(Ok(_)))));
        }
        assert_eq!(THREADS.load(Ordering::SeqCst), 1);
        assert!(lookups.running().is_empty());
        assert_eq!(lookups.resolve("a", 7, counts).await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 7))]);
        assert_eq!(THREADS.load(Ordering::SeqCst), 2, "the next caller starts another lookup");
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup_and_a_lookup_that_fails_says_why() {
        let lookups = lookups();
        assert_eq!(lookups.resolve("::1", 7, hangs).await.unwrap()[0].to_string(), "[::1]:7");
        let error = lookups.resolve("a", 7, |_| Err(io::Error::other("no such host"))).await.unwrap_err();
        assert_eq!(error.to_string(), "no such host");
        assert!(lookups.resolve("a", 7, |_| Ok(Vec::new())).await.is_err());
        assert!(lookups.resolve("a", 7, |_| panic!("a lookup that panics")).await.is_err());
        assert!(lookups.resolve("a", 7, |_| Ok(vec![([127, 0, 0, 1], 0).into()])).await.is_ok());
        assert!(resolve("localhost", 7).await.is_ok());
        let scoped = |_: &str| Ok(vec![SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 2).into()]);
        assert_eq!(lookups.resolve("a", 7, scoped).await.unwrap()[0].to_string(), "[::1%2]:7");
    }
}
