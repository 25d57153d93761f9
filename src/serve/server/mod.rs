//! Connections: how many, how long, and how they end.
//!
//! The door is a thread of its own. It accepts everybody, looks at what is said first, answers probes
//! itself and hands everything else to the threads that talk, once there is a place. Whoever has not
//! said anything yet holds no place.

mod converse;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use self::converse::{Conversation, told};
use self::waiting::{Crowd, WaitingRoom};
use super::gate::Gate;
use super::observe::PROBES;

/// Bytes of a first message that are looked at.
const FIRST_BYTES: usize = 2048;
/// Probes at once; they are short.
const PROBE_PLACES: usize = 64;
/// Time for a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// The pause after the system had no file left for a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// How HTTP/2 begins.
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// How many at once; others wait.
    pub most: usize,
    /// Time for the head of a request, and without progress of a request or an answer.
    pub header_timeout: Duration,
    /// Time to end after the server stops.
    pub drain: Duration,
}

/// What every connection shares.
#[derive(Clone)]
struct Door {
    gate: Gate,
    talkers: Handle,
    connections: Connections,
    places: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    crowd: Crowd,
    /// Says when to leave; everybody who is there holds one.
    leaving: watch::Receiver<bool>,
}

/// Serves on a thread of its own until `stop` says so, then lets requests end. Tells whether all did; an
/// error there means that the door fell shut.
pub fn open(
    listener: TcpListener,
    gate: Gate,
    connections: Connections,
    stop: watch::Receiver<bool>,
) -> std::io::Result<oneshot::Receiver<bool>> {
    let talkers = Handle::current();
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("door".to_owned()).spawn(move || {
        let drained = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            std::io::Result::Ok(serve(listener, gate, connections, talkers, stop).await)
        });
        // Nobody waits for this once the process ends.
        let _ = drained.map(|drained| tell.send(drained));
    })?;
    Ok(told)
}

async fn serve(
    listener: TcpListener,
    gate: Gate,
    connections: Connections,
    talkers: Handle,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let (leave, leaving) = watch::channel(false);
    let places = Arc::new(Semaphore::new(connections.most));
    let probes = Arc::new(Semaphore::new(PROBE_PLACES));
    let crowd = Crowd::new();
    let door = Door { gate, talkers, connections, places, probes, crowd, leaving };
    let mut waiting = WaitingRoom::default();
    loop {
        let accepted = async {
            waiting.room_for_one().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                waiting.enter(tokio::spawn(receive(stream, peer, door.clone())));
            }
            Err(error) => {
                // Too many open files, or a client that has gone already.
                tracing::warn!("no connection was accepted: {error}");
                waiting.send_one_away();
                sleep(PAUSE).await;
            }
        }
    }
    drop((listener, door));
    // Nobody is there any more only if all have ended.
    let _ = leave.send(true);
    timeout(connections.drain, leave.closed()).await.is_ok()
}

/// Hears what a client says first and takes it to where it is answered.
async fn receive(stream: TcpStream, peer: SocketAddr, mut door: Door) {
    // Small answers leave at once.
    let _ = stream.set_nodelay(true);
    let mut first = [0; FIRST_BYTES];
    let heard = tokio::select! {
        heard = timeout(door.connections.header_timeout, stream.peek(&mut first)) => heard,
        () = told(&mut door.leaving) => return,
    };
    let Ok(Ok(length @ 1..)) = heard else { return };
    let first = &first[..length];
    let Door { gate, talkers, connections, places, probes, crowd, leaving } = door;
    let mut conversation = Conversation {
        gate,
        peer: peer.ip(),
        patience: connections.header_timeout,
        http2: HTTP2.starts_with(&first[..length.min(HTTP2.len())]),
        once: false,
        crowd: crowd.clone(),
        leaving,
    };
    if is_probe(first)
        && let Ok(place) = probes.try_acquire()
    {
        (conversation.once, conversation.patience) = (true, PROBE_PATIENCE);
        // Who stays after the answer keeps no other probe out.
        return conversation.hold(stream, place).await;
    }
    let place = match Arc::clone(&places).try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            let _waits = crowd.enter();
            let Ok(place) = places.acquire_owned().await else { return };
            place
        }
    };
    let Ok(stream) = stream.into_std() else { return };
    talkers.spawn(async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            conversation.hold(stream, ()).await;
        }
        drop(place);
    });
}

/// A whole head that asks one of the probes.
fn is_probe(first: &[u8]) -> bool {
    let path = first.strip_prefix(b"GET ").or_else(|| first.strip_prefix(b"HEAD "));
    let ends = |rest: &[u8]| matches!(rest.first(), Some(b' ' | b'?'));
    first.ends_with(b"\r\n\r\n")
        && path.is_some_and(|path| {
            PROBES.iter().any(|probe| path.strip_prefix(probe.as_bytes()).is_some_and(ends))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_known_by_its_whole_head() {
        for probe in PROBES {
            for method in ["GET", "HEAD"] {
                for rest in ["", "?verbose"] {
                    let head = format!("{method} {probe}{rest} HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert!(is_probe(head.as_bytes()), "{head}");
                    assert!(!is_probe(&head.as_bytes()[..head.len() - 1]), "half of {head}");
                }
            }
        }
        for other in ["GET /livezz HTTP/1.1\r\n\r\n", "GET /metrics HTTP/1.1\r\n\r\n", "\r\n\r\n"] {
            assert!(!is_probe(other.as_bytes()), "{other}");
        }
    }
}
