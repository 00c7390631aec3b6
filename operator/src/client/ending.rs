//! The body of an answer, which ends in time: a server that dies in the middle of one says nothing more.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tower::BoxError;

/// A body that fails once its time is over.
#[derive(Debug)]
pub struct Ending<B> {
    body: Pin<Box<B>>,
    /// None of a body that may last.
    end: Option<Pin<Box<Sleep>>>,
}

impl<B> Ending<B> {
    /// The rest of `body` has this time, from now on.
    pub(super) fn new(body: B, time: Option<Duration>) -> Self {
        let end = time.map(|time| Box::pin(tokio::time::sleep(time)));
        Self { body: Box::pin(body), end }
    }
}

impl<B> Body for Ending<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err("the answer did not end in time".into())));
        }
        self.body
            .as_mut()
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;

    /// It says one thing, and then nothing any more.
    struct Stuck(Option<Bytes>);

    impl Body for Stuck {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_fails() {
        let half = Stuck(Some(Bytes::from_static(b"{")));
        let begun = Instant::now();
        let mut body = Box::pin(Ending::new(half, Some(Duration::from_secs(30))));
        let first = poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "{");
        let end = poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap();
        assert_eq!(end.unwrap_err().to_string(), "the answer did not end in time");
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
    }
}
