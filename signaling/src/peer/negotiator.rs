//! The peer as the HTTP doors see it.

use futures_util::future::BoxFuture;

use super::{AnswerOptions, PeerHost};
use crate::http::negotiator::{Answer, Negotiator, Offer};
use crate::line::CallId;
use crate::negotiate::NegotiateError;

impl Negotiator for PeerHost {
    fn answer(&self, offer: Offer) -> BoxFuture<'_, Result<Answer, NegotiateError>> {
        Box::pin(async move {
            let Offer { sdp, door, session, grant, protocol } = offer;
            let answered = PeerHost::answer(self, &sdp, AnswerOptions { door, session, grant, protocol }).await?;
            Ok(Answer { call: answered.call, sdp: answered.sdp })
        })
    }

    fn add_candidates<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<(), NegotiateError>> {
        Box::pin(async move {
            match self.patch(call, fragment).await? {
                None => Ok(()),
                // The entity tag says that the client knows of no restart: its credentials must be the ones in use.
                Some(_) => {
                    Err(NegotiateError::BadFragment { why: "it has other ICE credentials than the call".to_owned() })
                }
            }
        })
    }

    fn restart<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        Box::pin(async move {
            let restarted = self.patch(call, fragment).await?;
            let missing = || NegotiateError::BadFragment { why: "it has no new ICE credentials".to_owned() };
            restarted.map(|(fragment, _)| fragment).ok_or_else(missing)
        })
    }

    fn owner(&self, call: &CallId) -> Option<Option<String>> {
        PeerHost::owner(self, call)
    }

    fn answer_again<'a>(&'a self, call: &'a CallId, offer: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        Box::pin(async move { PeerHost::restart(self, call, offer).await.map(|answered| answered.sdp) })
    }

    fn hang_up(&self, call: &CallId) -> bool {
        PeerHost::hang_up(self, call)
    }
}
