//! A connection whose other end must take what it is sent.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What must be taken in the time given, if there is so much.
const LEAST: usize = 64 << 10;

/// Fails when what is written is not taken in time: taking a byte now and then does not hold a connection.
pub(crate) struct Paced<T> {
    inner: T,
    patience: Duration,
    /// Set when a write has to wait, until enough or everything was taken.
    waiting: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl<T> Paced<T> {
    pub(crate) const fn new(inner: T, patience: Duration) -> Self {
        Self { inner, patience, waiting: None, taken: 0 }
    }

    fn wait<R>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_pending() {
            let (patience, taken) = (self.patience, &mut self.taken);
            let waiting = self.waiting.get_or_insert_with(|| {
                *taken = 0;
                Box::pin(sleep(patience))
            });
            ready!(waiting.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }

    fn take(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        let count = written?;
        self.taken = self.taken.saturating_add(count);
        if self.taken >= LEAST {
            self.waiting = None;
        }
        Ok(count)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        let written = ready!(self.wait(context, result));
        Poll::Ready(self.take(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        let written = ready!(self.wait(context, result));
        Poll::Ready(self.take(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        let result = ready!(self.wait(context, result));
        self.waiting = None;
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(context);
        self.wait(context, result)
    }
}
