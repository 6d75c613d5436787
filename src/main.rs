//! The `pulsar-proxy` program: parses the settings, starts the log, and runs the server.

use std::io::Write;
use std::process::ExitCode;

use pulsar_proxy::bench;
use pulsar_proxy::cli::{self, Check, Refusal, Start, Surroundings, Task};
use pulsar_proxy::client::{self, Failure, Healthcheck};
use pulsar_proxy::config::Config;
use pulsar_proxy::logging;
use pulsar_proxy::server::{self, StartError, Supervisor};

/// A wrong flag, setting or file; the operator must change something before the next start.
const EXIT_WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(&Surroundings::of_process()) {
        Ok(Task::Serve(start)) => serve(*start),
        Ok(Task::Print(text)) => print(&text),
        Ok(Task::Check(settings)) => check(*settings),
        Ok(Task::Healthcheck(order)) => healthcheck(&order),
        Ok(Task::Publish(order)) => finish(client::publish(&order)),
        Ok(Task::Subscribe(order)) => finish(client::subscribe(&order)),
        Ok(Task::Bench(order)) => measure(&order),
        Err(refusal) => refuse(&refusal),
    }
}

fn serve(Start { config, warnings }: Start) -> ExitCode {
    let _flush = match logging::start(config.log_level, config.log_format) {
        Ok(flush) => flush,
        Err(error) => {
            complain(&format!("the log cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    run(config)
}

fn run(config: Config) -> ExitCode {
    let workers = config.workers;
    let supervisor = Supervisor::new(std::env::var_os("NOTIFY_SOCKET"));
    match server::start(config, supervisor) {
        Ok(server) => {
            let addresses = server.addresses();
            tracing::info!(
                address = %addresses.main,
                tls_address = addresses.tls.map(tracing::field::display),
                unix_socket = addresses.local.as_ref().map(|it| tracing::field::display(it.display())),
                workers,
                version = env!("CARGO_PKG_VERSION"),
                "listening"
            );
            server.run()
        }
        Err(StartError::Settings(error)) => refuse(&Refusal::Config(error)),
        Err(error) => {
            tracing::error!(critical = true, "{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(settings: Check) -> ExitCode {
    match settings.run(server::examine) {
        Ok(text) => print(&text),
        Err((said, sentence)) => {
            if let Some(said) = said {
                print(&said);
            }
            complain(&sentence);
            ExitCode::from(EXIT_WRONG_SETTINGS)
        }
    }
}

/// Says how the server is. Whatever is wrong is one exit code: container engines know no other.
fn healthcheck(order: &Healthcheck) -> ExitCode {
    match client::healthcheck(order) {
        Ok(sentence) => print(&sentence),
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints what was asked for. Whoever closed the output does not want it.
fn print(text: &str) -> ExitCode {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Ends a command that talks to a server.
fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

/// Ends a measurement: what it has found stands in the output.
fn measure(order: &bench::order::Order) -> ExitCode {
    match bench::command::run(order) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => finish(Err(failure)),
    }
}

/// Says why there is no server: help and version on stdout, all else on stderr.
fn refuse(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(error) => {
            // Who closed the output does not want to read it.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_WRONG_SETTINGS))
        }
        Refusal::HealthUsage(error) => {
            // Who closed the output does not want to read it.
            let _ = error.print();
            ExitCode::FAILURE
        }
        Refusal::Health(_) => {
            complain(&refusal.to_string());
            ExitCode::FAILURE
        }
        Refusal::Config(_) | Refusal::Command(_) => {
            complain(&refusal.to_string());
            ExitCode::from(EXIT_WRONG_SETTINGS)
        }
    }
}

/// Writes a sentence to stderr, as far as that is open.
fn complain(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "pulsar-proxy: {sentence}");
}
