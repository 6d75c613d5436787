//! Starting and stopping: who talks to whom, in one place.

mod describe;
mod listen;
mod reload;
mod supervisor;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::api::origin::AccessPolicy;
use crate::clock::Clock;
use crate::config::{AllowedHosts, Config, ConfigError, HTTP_CONNECTIONS_RESERVED};
use crate::edge::TrustedProxies;
use crate::fanout::{self, mailbox};
use crate::idempotency::Idempotency;
use crate::moment::micros;
use crate::quota::{Held, Quotas, Tally};
use crate::service::Credentials;
use crate::tls::Certificate;
use crate::topic::{Budget, Epoch, HistoryLimits, StoreLimits, TopicName, TopicStore, WorkerIndex};
use crate::valkey::consumers::ConsumerTerms;
use crate::valkey::{KeepLimits, Post, Valkey};
use crate::worker::{Lifecycle, Peers, Places, Shared, Stage, Worker, WorkerState};

use reload::Watches;

pub use listen::Addresses;
pub use supervisor::Supervisor;

/// Items that a mailbox holds; when it is full the receiver looks at all its topics.
const MAILBOX_ITEMS: usize = 512;

/// Descriptors that are not connections: listeners, selectors, wakers, the log.
const DESCRIPTORS_OF_OURS: u64 = 64;

/// Time between two looks at files that may have been replaced.
const FILES_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks at whether the store is there, before the supervisor has been told that the server is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Time for which the supervisor waits for the store. Then it is told that the server is ready all the same: it
/// listens, says in `/ready` what it lacks, and may take publications into its spool.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the workers to notice that the end has come.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The socket in the file system cannot be made.
    #[error("cannot listen on {}: {error}", path.display())]
    BindLocal {
        /// The configured path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A setting breaks a rule that only the part it is for knows.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The system gave no selector, waker, thread or random bits.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    shared: Arc<Shared>,
    wakers: Arc<[Waker]>,
    events: Receiver<Event>,
    running: usize,
    credentials: Option<Arc<Credentials>>,
    watches: Watches,
    supervisor: Supervisor,
    /// When it began to listen.
    started: Instant,
}

/// What the main thread waits for.
#[derive(Debug)]
enum Event {
    Signal(i32),
    WorkerEnded(io::Result<()>),
}

/// How waiting ended.
enum Waited {
    TimeIsUp,
    WorkersEnded,
    /// A second signal: the number.
    AtOnce(i32),
}

/// Binds, builds the workers and starts them. The supervisor is told how they are while the server runs.
///
/// # Errors
/// When a setting is wrong, the address cannot be had, or the system lacks something.
pub fn start(config: Config, supervisor: Supervisor) -> Result<Server, StartError> {
    let dead_letter_topic = dead_letter_topic(&config)?;
    let watches = Watches::new(&config);
    let credentials = Credentials::load(&config.access)?.map(Arc::new);
    raise_descriptor_limit(&config);
    let tls = config.tls.as_ref().map(reload::certificate).transpose()?;
    let (addresses, listeners) = listen::listen(&config)?;
    let workers = config.workers;
    let polls = (0..workers)
        .map(|_| Poll::new())
        .collect::<io::Result<Vec<Poll>>>()?;
    let wakers: Arc<[Waker]> = polls
        .iter()
        .map(Worker::waker)
        .collect::<io::Result<Vec<_>>>()?
        .into();
    let shared = Arc::new(build_shared(
        config,
        dead_letter_topic,
        (credentials.as_deref(), tls),
        &wakers,
    )?);
    let (tell, events) = mpsc::channel();
    hear_signals(tell.clone())?;
    let parts = polls
        .into_iter()
        .zip(listeners)
        .zip(connect(&shared, &wakers))
        .enumerate();
    for (index, ((poll, listeners), peers)) in parts {
        let worker = Worker::new(
            index as WorkerIndex,
            Arc::clone(&shared),
            poll,
            listeners,
            peers,
        )?;
        let tell = tell.clone();
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                // Without a main thread there is nobody to tell.
                let _ = tell.send(Event::WorkerEnded(worker.run()));
            })?;
    }
    if let Some(credentials) = &credentials {
        let wakers = Arc::clone(&wakers);
        credentials.follow(move || wake(&wakers))?;
    }
    Ok(Server {
        addresses,
        shared,
        wakers,
        events,
        running: workers,
        credentials,
        watches,
        supervisor,
        started: Instant::now(),
    })
}

/// Reads and judges the files that the settings name, as [`start`] would, and starts nothing. Returns what was
/// found, in sentences.
///
/// # Errors
/// What would refuse the start.
pub fn examine(config: &Config) -> Result<Vec<String>, ConfigError> {
    let mut found = Vec::new();
    dead_letter_topic(config)?;
    if Credentials::load(&config.access)?.is_some() {
        found.push("The keys of credentials can be used.".to_owned());
    }
    if let Some(url) = config.access.jwks_url() {
        let scheme = url.split(':').next().unwrap_or_default();
        found.push(format!(
            "The key set of jwt-jwks is fetched by {scheme} once the server runs."
        ));
    }
    if let Some(tls) = &config.tls {
        reload::certificate(tls)?;
        found.push(format!(
            "The certificate in {} and its key can be used.",
            tls.certificate.text
        ));
    }
    if let Some(path) = config.valkey.as_ref().and_then(|it| it.ca_file.as_ref()) {
        let read = fs::read(path);
        read.map_err(|error| {
            ConfigError::Credentials(format!("valkey-ca-file: {}: {error}", path.display()))
        })?;
        found.push(format!(
            "The authorities in {} can be read.",
            path.display()
        ));
    }
    Ok(found)
}

impl Server {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until a signal comes, then stops without haste: `/ready` says no, after a while
    /// listeners close, and connections with them. A second signal ends at once.
    pub fn run(mut self) -> ExitCode {
        let failed = self.wait_for_end().is_err();
        let config = &self.shared.config;
        let (delay, timeout) = (config.drain_delay, config.drain_timeout);
        tracing::info!(
            delay_s = delay.as_secs_f64(),
            timeout_s = timeout.as_secs_f64(),
            "draining"
        );
        self.supervisor.stopping();
        for (stage, patience, status) in [
            (Stage::Draining, delay, "draining: /ready says no"),
            (Stage::Closing, timeout, "draining: connections are closed"),
            (Stage::Ending, END_TIMEOUT, "ending"),
        ] {
            self.enter(stage);
            self.supervisor.status(status.to_owned());
            self.supervisor.needs(patience + 2 * END_TIMEOUT);
            match self.wait(patience) {
                Waited::TimeIsUp => {}
                Waited::WorkersEnded => break,
                Waited::AtOnce(signal) => {
                    tracing::warn!(signal, "ended at once by a second signal");
                    return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
                }
            }
        }
        if let Some(valkey) = &self.shared.valkey {
            valkey.stop(END_TIMEOUT);
        }
        if let Some(path) = &self.addresses.local {
            // Whoever starts a server there next finds that nobody listens, and removes it.
            let _ = fs::remove_file(path);
        }
        tracing::info!("stopped");
        if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    /// Waits for the first signal, or for a worker that fails.
    fn wait_for_end(&mut self) -> Result<(), ()> {
        loop {
            let interval = if self.report() {
                FILES_INTERVAL
            } else {
                READY_INTERVAL
            };
            match self.next_event(Instant::now() + interval) {
                Err(RecvTimeoutError::Timeout) => self.follow_files(),
                Ok(Event::Signal(SIGHUP)) => self.reload(),
                Ok(Event::Signal(signal)) => {
                    tracing::info!(signal, "stopping");
                    return Ok(());
                }
                Ok(Event::WorkerEnded(result)) => {
                    self.running -= 1;
                    let error = result
                        .err()
                        .map_or_else(|| "ended".to_owned(), |it| it.to_string());
                    tracing::error!(critical = true, error, "a worker has failed");
                    return Err(());
                }
                // The workers hold the other end as long as they run.
                Err(RecvTimeoutError::Disconnected) => return Err(()),
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> Waited {
        let end = Instant::now() + patience;
        while self.running > 0 {
            match self.next_event(end) {
                Ok(Event::Signal(SIGHUP)) => {}
                Ok(Event::Signal(signal)) => return Waited::AtOnce(signal),
                Ok(Event::WorkerEnded(_)) => self.running -= 1,
                Err(RecvTimeoutError::Timeout) => return Waited::TimeIsUp,
                Err(RecvTimeoutError::Disconnected) => return Waited::WorkersEnded,
            }
        }
        Waited::WorkersEnded
    }

    fn enter(&self, stage: Stage) {
        self.shared.lifecycle.enter(stage);
        self.wake_workers();
    }

    fn wake_workers(&self) {
        wake(&self.wakers);
    }
}

fn wake(wakers: &[Waker]) {
    for waker in wakers {
        // A worker that cannot be woken wakes by itself within a second, to sweep.
        let _ = waker.wake();
    }
}

fn dead_letter_topic(config: &Config) -> Result<Option<TopicName>, ConfigError> {
    let Some(given) = &config.dead_letter_topic else {
        return Ok(None);
    };
    TopicName::parse(&given.text).map(Some).map_err(|_| {
        let allowed = "a topic name: 1 to 255 letters, numbers, - and _, not only - and _";
        given.refused("dead-letter-topic", allowed.to_owned())
    })
}

fn build_shared(
    config: Config,
    dead_letter_topic: Option<TopicName>,
    (credentials, tls): (Option<&Credentials>, Option<Certificate>),
    wakers: &Arc<[Waker]>,
) -> Result<Shared, StartError> {
    let mut epoch = [0; 4];
    getrandom::fill(&mut epoch).map_err(io::Error::from)?;
    let limits = StoreLimits {
        history: HistoryLimits {
            messages_max: config.max_messages_per_topic,
            bytes_max: config.topic_bytes_max as u64,
            retention_micros: micros(config.hot_tier_retention),
        },
        topics_max: config.topics_max,
        metered_topics_max: config.metrics_topics_max,
        consumers_max: config.consumers_max,
        group_members_max: config.group_members_max,
        client_retention: micros(config.client_retention),
    };
    let budget = Budget::new(config.memory_max as u64);
    let origins = config.allowed_origins.iter().map(String::as_str);
    let hosts = match &config.allowed_hosts {
        AllowedHosts::Any => vec!["*"],
        AllowedHosts::Listed(hosts) => hosts.iter().map(String::as_str).collect(),
    };
    let epoch = Epoch::new(u32::from_ne_bytes(epoch));
    let clock = Clock::start();
    let states: Box<[WorkerState]> = (0..config.workers).map(|_| WorkerState::new()).collect();
    let wakers = Arc::clone(wakers);
    let doorbells = states.iter().map(|worker| Arc::clone(&worker.doorbell));
    let post = Arc::new(Post::new(doorbells, move |worker| {
        // A full eventfd is one that wakes anyway.
        let _ = wakers[worker as usize].wake();
    }));
    let (store, valkey) = match &config.valkey {
        None => {
            let store = TopicStore::new(limits, config.workers, epoch, budget);
            (Arc::new(store), None)
        }
        Some(settings) => {
            let store = TopicStore::following(limits, config.workers, epoch, budget);
            let store = Arc::new(store);
            let limits = KeepLimits {
                messages_max: config.max_messages_per_topic,
                retention: settings.retention,
            };
            let (to, through) = (Arc::clone(&store), Arc::clone(&post));
            let valkey = Valkey::start(settings, limits, to, through, clock)?;
            (store, Some(valkey))
        }
    };
    let mut instance = [0; 8];
    getrandom::fill(&mut instance).map_err(io::Error::from)?;
    let consumer_terms = ConsumerTerms {
        consumers_max: config.consumers_max,
        group_members_max: config.group_members_max,
        ..ConsumerTerms::new(
            &format!("{:016x}", u64::from_ne_bytes(instance)),
            config.client_retention,
        )
    };
    Ok(Shared {
        // Behind credentials a page that rebinds a name finds nothing without one.
        access: AccessPolicy::new(
            config.host.is_loopback() && credentials.is_none(),
            origins,
            hosts,
        ),
        authority: credentials.map(|it| Arc::clone(it.authority())),
        tls,
        quotas: Quotas::new(config.rate_limit_per_client, valkey.is_some()),
        clients: Tally::new(Held {
            connections: config.client_connections_max as u64,
            subscriptions: config.client_subscriptions_max as u64,
            polls: config.client_polls_max as u64,
            bytes: config.client_bytes_max as u64,
        }),
        addresses: Tally::new(Held {
            connections: config.address_connections_max as u64,
            ..Held::default()
        }),
        proxies: TrustedProxies::new(config.trusted_proxies.clone()),
        store,
        valkey,
        consumer_terms,
        post,
        places: Places::new(
            config.max_connections,
            config.http_connections_max,
            HTTP_CONNECTIONS_RESERVED,
        ),
        documents: describe::documents(&config),
        dead_letter_topic,
        idempotency: Idempotency::new(config.idempotency_bytes_max),
        lifecycle: Lifecycle::new(states.len()),
        clock,
        workers: states,
        config,
    })
}

/// A mailbox from each worker to each other one.
fn connect(shared: &Shared, wakers: &Arc<[Waker]>) -> Vec<Peers> {
    let workers = shared.workers.len();
    let mut peers: Vec<Peers> = (0..workers)
        .map(|_| Peers {
            senders: Vec::new(),
            receivers: Vec::new(),
            wakers: Arc::clone(wakers),
        })
        .collect();
    for from in 0..workers {
        for to in 0..workers {
            let sender = (from != to).then(|| {
                let doorbell = Arc::clone(&shared.workers[to].doorbell);
                let (sender, receiver): (fanout::Sender, _) = mailbox(MAILBOX_ITEMS, doorbell);
                peers[to].receivers.push(receiver);
                sender
            });
            peers[from].senders.push(sender);
        }
    }
    peers
}

fn hear_signals(tell: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if tell.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}

/// Raises the limit of open files as far as it goes, and says when that is not far enough.
fn raise_descriptor_limit(config: &Config) {
    let wanted =
        (config.max_connections + config.http_connections_max) as u64 + DESCRIPTORS_OF_OURS;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the limit of open files allows fewer connections than --max-connections and \
             --http-connections-max together"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}
