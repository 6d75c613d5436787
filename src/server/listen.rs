//! Binding: a port for all workers, and a socket in the file system.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::config::{Config, UnixSocket};
use crate::worker::Listener;

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// For HTTP, or HTTPS if there is a certificate and no other port for it.
    pub main: SocketAddr,
    /// For HTTPS beside that.
    pub tls: Option<SocketAddr>,
    /// For HTTP within the machine.
    pub local: Option<PathBuf>,
}

/// Connections that the kernel holds for a worker; it caps this at `net.core.somaxconn`.
const LISTEN_BACKLOG: i32 = 4096;

/// Binds everything; the listeners of each worker.
pub(super) fn listen(config: &Config) -> Result<(Addresses, Vec<Vec<Listener>>), StartError> {
    let tls_port = config.tls.as_ref().and_then(|tls| tls.port);
    let is_main_plain = config.tls.is_none() || tls_port.is_some();
    let as_main = if is_main_plain {
        Listener::Plain
    } else {
        Listener::Tls
    };
    let mut all: Vec<Vec<Listener>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut bind = |port, listener: fn(TcpListener) -> Listener| {
        let address = SocketAddr::new(config.host, port);
        let bound = tcp(address, config.workers);
        let bound = bound.map_err(|error| StartError::Bind { address, error })?;
        let address = bound[0].local_addr()?;
        for (listeners, socket) in all.iter_mut().zip(bound) {
            listeners.push(listener(socket));
        }
        Ok::<SocketAddr, StartError>(address)
    };
    let main = bind(config.port, as_main)?;
    let tls = tls_port.map(|port| bind(port, Listener::Tls)).transpose()?;
    if let Some(UnixSocket { path, mode }) = &config.unix_socket {
        let bound = local(path, *mode, config.workers);
        let path = path.clone();
        let bound = bound.map_err(|error| StartError::BindLocal { path, error })?;
        for (listeners, socket) in all.iter_mut().zip(bound) {
            listeners.push(Listener::Local(socket));
        }
    }
    let local = config.unix_socket.as_ref().map(|it| it.path.clone());
    Ok((Addresses { main, tls, local }, all))
}

/// One listener a worker on the same address; the kernel spreads connections over them.
fn tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // Sharing the port would let a second server in unnoticed: this bind does not share.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
    }
    let mut listeners = Vec::with_capacity(workers);
    let mut address = address;
    for _ in 0..workers {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into());
        // The first one chooses where the others follow.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// A socket in the file system, which all workers accept from, for whom the mode allows to write to it.
/// One that a server has left behind gives way.
///
/// # Errors
/// `AddrInUse` if a server listens there; `AlreadyExists` if it is no socket; those of the system.
fn local(path: &Path, mode: u32, workers: usize) -> io::Result<Vec<UnixListener>> {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    let clone = |_| listener.try_clone().map(UnixListener::from_std);
    (0..workers).map(clone).collect()
}
