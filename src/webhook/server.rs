//! Takes TLS connections and lets a router answer them: bounded in number, size and time, drained at the end.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// What one client may cost the server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's body; more is answered with 413.
    pub body: usize,
    /// Bytes of large bodies at a time, over all connections; further ones wait for [`Limits::body_time`] at most, then
    /// they are answered with 503.
    pub large_bodies: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// From the end of the handshake to the last header of the first request.
    pub header_time: Duration,
    /// From a request's last header to the end of its body; later is answered with 408.
    pub body_time: Duration,
    /// From one request of a connection to the next. Longer than the 90 s after which the API server itself
    /// closes idle connections, or it would now and then send a call into one that is just being closed here.
    pub idle_time: Duration,
    /// From the shutdown signal to the last answer; then connections are cut.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            body: 8 << 20,
            large_bodies: 16 << 20,
            handshake_time: Duration::from_secs(10),
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(120),
            drain_time: Duration::from_secs(20),
        }
    }
}

/// Serves `router` on `listener` until `shutdown` is ready, then answers the calls in flight and returns.
///
/// The configuration's certificate resolver is asked at each handshake, so a rotated certificate is served
/// without a restart.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let accepting = Accepting::new(listener, limits.connections);
    let bodies = Bodies::new(&limits);
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (place, stream) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            taken = accepting.next() => taken,
        };
        let connection = Connection {
            acceptor: acceptor.clone(),
            router: router.clone(),
            limits: limits.clone(),
            bodies: bodies.clone(),
        };
        let draining = draining.clone();
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = connection.run(stream, draining).await {
                tracing::debug!(%error, "webhook connection ended early");
            }
        });
    }
    drop(accepting);
    drain.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_time, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "webhook calls still unanswered after the drain time are cut"
        );
    }
}

/// Takes connections, so many at a time; further ones wait in the kernel's queue.
#[derive(Debug)]
pub struct Accepting {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Accepting {
    /// Takes at most `connections` at a time.
    pub fn new(listener: TcpListener, connections: usize) -> Self {
        Self {
            listener,
            free: Arc::new(Semaphore::new(connections)),
        }
    }

    /// The next connection with its place, which is free again once it is dropped. Nothing is lost if it is not
    /// waited for to the end.
    pub async fn next(&self) -> (Place, TcpStream) {
        let place = Place {
            _permit: Arc::clone(&self.free).acquire_owned().await,
        };
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (place, stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors is the one error that lasts: without a pause the loop would spin on it.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The place of one connection among those that are taken at a time.
#[derive(Debug)]
pub struct Place {
    /// An error would mean a closed semaphore, and nobody closes it.
    _permit: Result<OwnedSemaphorePermit, AcquireError>,
}

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no TLS handshake within {0:?}")]
    SlowHandshake(Duration),
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("no complete request headers within {0:?}")]
    SlowHeaders(Duration),
    #[error("HTTP: {0}")]
    Http(hyper::Error),
}

struct Connection {
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    bodies: Bodies,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        mut draining: watch::Receiver<bool>,
    ) -> Result<(), ConnectionError> {
        let limits = self.limits;
        // Answers are small and the API server waits for each.
        let _ = stream.set_nodelay(true);
        let stream = timeout(limits.handshake_time, self.acceptor.accept(stream))
            .await
            .map_err(|_| ConnectionError::SlowHandshake(limits.handshake_time))?
            .map_err(ConnectionError::Handshake)?;

        let requested = Arc::new(Notify::new());
        let service = {
            let requested = Arc::clone(&requested);
            let router = TowerToHyperService::new(self.router);
            let bodies = self.bodies;
            hyper::service::service_fn(move |request: Request<Incoming>| {
                requested.notify_one();
                answer(router.clone(), request, bodies.clone())
            })
        };
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_time)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(http);
        // hyper's own header timeout also runs between requests, where a short one would be wrong.
        let first_headers = timeout(limits.header_time, requested.notified());
        tokio::pin!(first_headers);
        let mut waiting = true;
        loop {
            tokio::select! {
                ended = &mut http => return ended.map_err(ConnectionError::Http),
                arrived = &mut first_headers, if waiting => match arrived {
                    Ok(()) => waiting = false,
                    Err(_) => return Err(ConnectionError::SlowHeaders(limits.header_time)),
                },
                Ok(_) = draining.wait_for(|draining| *draining) => break,
            }
        }
        http.as_mut().graceful_shutdown();
        http.await.map_err(ConnectionError::Http)
    }
}

/// Reads the whole body within the limits, so that handlers see complete requests only.
async fn answer(
    router: TowerToHyperService<Router>,
    request: Request<Incoming>,
    bodies: Bodies,
) -> Result<Response, Infallible> {
    use hyper::service::Service as _;

    let (head, body) = request.into_parts();
    match bodies.read(body).await {
        Ok((bytes, _place)) => {
            let request = Request::from_parts(head, Body::from(bytes));
            router.call(request).await
        }
        Err((status, why)) => {
            let mut response = Response::new(Body::from(why));
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

/// Bodies up to this size (bytes) don't count into [`Limits::large_bodies`]: pods are smaller, and must not wait
/// because somebody sends large ones.
const SMALL_BODY: usize = 64 << 10;

/// Reads bodies within the limits of one of them and of all together.
#[derive(Debug, Clone)]
struct Bodies {
    limit: usize,
    time: Duration,
    /// Room for large bodies, in KiB.
    room: Arc<Semaphore>,
    all_room: usize,
}

impl Bodies {
    fn new(limits: &Limits) -> Self {
        let all_room = limits.large_bodies >> 10;
        Self {
            limit: limits.body,
            time: limits.body_time,
            room: Arc::new(Semaphore::new(all_room)),
            all_room,
        }
    }

    /// The body, and the room that it takes until it is answered.
    async fn read(
        &self,
        body: Incoming,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), (StatusCode, String)> {
        let size = hyper::body::Body::size_hint(&body);
        let too_large = || {
            let why = format!("the body is larger than {} bytes\n", self.limit);
            (StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        if size.lower() > self.limit as u64 {
            return Err(too_large());
        }
        let announced = size.upper().and_then(|size| usize::try_from(size).ok());
        let room = self.room_for(announced.unwrap_or(self.limit)).await?;
        match timeout(self.time, Limited::new(body, self.limit).collect()).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), room)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err((
                StatusCode::BAD_REQUEST,
                format!("the body cannot be read: {error}\n"),
            )),
            Err(_) => Err((
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {:?}\n", self.time),
            )),
        }
    }

    async fn room_for(
        &self,
        size: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, (StatusCode, String)> {
        if size <= SMALL_BODY {
            return Ok(None);
        }
        let wanted = size.div_ceil(1 << 10).min(self.all_room);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted);
        match timeout(self.time, room).await {
            Ok(room) => Ok(room.ok()),
            Err(_) => Err((
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "other large bodies left no room for this one within {:?}\n",
                    self.time
                ),
            )),
        }
    }
}
