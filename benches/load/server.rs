//! The server under load: started for the occasion, or one that runs already.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::Command;

use pulsar_proxy::bench::process::Process;
use pulsar_proxy::bench::spawned::Spawned;
use pulsar_proxy::bench::target::Target;

use crate::Outcome;
use crate::args::Common;

pub(crate) struct Server {
    /// None when it was not started here.
    _spawned: Option<Spawned>,
    pub(crate) target: Target,
    pub(crate) process: Process,
}

impl Server {
    /// Starts the server on a free port, or takes the one named by `--url` and `--pid`.
    pub(crate) fn start(common: &Common, arguments: &[String]) -> Outcome<Self> {
        let credential = common.credential.as_deref();
        if let (Some(url), Some(pid)) = (&common.url, common.pid) {
            let authority = url.trim_start_matches("http://").trim_end_matches('/');
            let address = authority
                .to_socket_addrs()?
                .next()
                .ok_or("no address in --url")?;
            return Ok(Self {
                _spawned: None,
                target: Target::local(address).with_credential(credential),
                process: Process::new(pid),
            });
        }
        let built = Path::new(env!("CARGO_BIN_EXE_pulsar-proxy"));
        let mut command = Command::new(common.server.as_deref().unwrap_or(built));
        command.args(["--port", "0", "--workers", &common.workers.to_string()]);
        // What the command line gives replaces what the scenario would.
        let flag = |argument: &String| argument.split('=').next().map(str::to_owned);
        let is_given = |argument: &&String| {
            let mut given = common.server_arg.iter();
            given.any(|other| flag(other) == flag(argument))
        };
        command.args(arguments.iter().filter(|it| !is_given(it)));
        command.args(&common.server_arg);
        Ok(Self::of(
            Spawned::start(command, common.verbose)?,
            credential,
        ))
    }

    /// Starts the bare floor with so many threads.
    pub(crate) fn floor(workers: usize) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor-server", "--workers", &workers.to_string()]);
        Ok(Self::of(Spawned::start(command, true)?, None))
    }

    fn of(spawned: Spawned, credential: Option<&str>) -> Self {
        Self {
            target: Target::local(spawned.address).with_credential(credential),
            process: spawned.process,
            _spawned: Some(spawned),
        }
    }
}
