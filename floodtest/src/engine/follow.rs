//! Responses that refuse: what they say, and redirects that are followed.

use super::Engine;
use super::following::origin;
use super::open::begin_tls;
use super::opening::{Carried, Stage};
use super::row::row_number;
use crate::decode::{Beginning, DecodeError, Framer, Progress, Refusal};
use crate::reason::Reason;
use crate::receipt::Receipt;
use crate::redirect;
use crate::request::sockets::Handshake;
use crate::request::{Filling, Redirected};
use crate::url::Url;

/// Shows what came to a response. One that refuses is read on while more of it will be shown.
pub(super) fn feed(
    framer: &mut Framer,
    beginning: &mut Beginning,
    bytes: &[u8],
    receipt: &mut Receipt<'_>,
    number: u64,
) -> Result<Progress, DecodeError> {
    let fed = framer.feed(beginning, bytes, receipt);
    let is_wanted = |refusal: &Refusal| {
        let reason = Reason::Status(refusal.status);
        !refusal.is_complete() && receipt.marks.case.tally.failures.wants_detail(reason, number)
    };
    match fed {
        Err(DecodeError::Status(_)) if beginning.refusal().is_some_and(is_wanted) => {
            Ok(Progress::More)
        }
        fed => fed,
    }
}

impl Engine<'_> {
    /// Notes that the head has come of a response that refuses, and that its body is waited for.
    pub(super) fn note_refusal(&mut self, row: usize) {
        if let Some(mut opening) = self.forget(row) {
            if opening.stage != Stage::Refused {
                (opening.stage, opening.since) = (Stage::Refused, std::time::Instant::now());
            }
            opening.is_in_flight = false;
            self.opening.insert(row, opening);
        }
    }

    /// Ends a connection for `reason`, unless a redirect is followed.
    pub(super) fn end(&mut self, row: usize, mut reason: Reason) {
        // However a connection ends after the server has closed its WebSocket, it was closed with
        // that code; unless something has followed the close frame.
        if let Some(code) = self.rows[row].framer.close_code()
            && !matches!(reason, Reason::BadFrame(_))
        {
            reason = Reason::Close(code);
        }
        let mut why_not = None;
        let opening = self.opening.get(&row);
        if let Some(refusal) = opening.and_then(|opening| opening.beginning.refusal()) {
            // However the connection ended meanwhile.
            reason = Reason::Status(refusal.status);
            if self.job.requests.max_redirects > 0 && redirect::is_redirect(refusal.status) {
                match self.follow(row) {
                    Ok(()) => return,
                    Err(why) => why_not = Some(why),
                }
            }
        }
        self.close(row, reason, why_not);
    }

    /// Goes on with the URL that a redirect leads to, or says why not.
    fn follow(&mut self, row: usize) -> Result<(), &'static str> {
        const NO_URL: &str = "it has no Location that is an http URL";
        let opening = self.opening.get_mut(&row).ok_or(NO_URL)?;
        let refusal = opening.beginning.refusal().ok_or(NO_URL)?;
        let (status, location) = (refusal.status, refusal.location.clone());
        let Carried { following, handshake, fields } = std::mem::take(&mut opening.attempt.carried);
        let mut following = following.ok_or(NO_URL)?;
        if following.n_redirects >= self.job.requests.max_redirects {
            return Err("--follow allows no more redirects");
        }
        let base = Url::parse(following.url.as_bytes()).map_err(|_| NO_URL)?;
        let location = location.as_deref().ok_or(NO_URL)?;
        let text = redirect::target(&base, location).ok_or(NO_URL)?;
        let mut url = Url::parse(text.as_bytes()).map_err(|_| NO_URL)?;
        if base.is_tls && !url.is_tls {
            return Err("it leads from https to http");
        }
        if url.is_tls && self.trust.is_none() {
            return Err("it leads to https, and there are no certificates to trust");
        }
        let (n_asked, asked) = (self.job.n_asked, self.job.source_ips.as_ref());
        let target = self.job.targets.find_or_learn(&url, n_asked, asked, self.job.share);
        let target = target.ok_or("the URL file does not name its host")?;

        let is_elsewhere = *origin(&url) != *following.origin;
        url.userinfo = following.userinfo.as_deref().filter(|_| !is_elsewhere);
        let is_get = following.is_get || redirect::becomes_get(status, self.job.requests.method());
        let place = self.job.share.number(row);
        let filling = Filling { fields: following.fields.as_deref(), place };
        let mut request = std::mem::take(&mut self.request);
        let n_redirects = following.n_redirects + 1;
        let redirected = Redirected { is_elsewhere, is_get, n_redirects };
        self.job.requests.write(&url, filling, redirected, &mut request);
        if let Some(places) = &mut self.places
            && places.again.is_resumed(row_number(row))
            && let Some(id) = places.again.resume(row_number(row))
        {
            self.job.requests.add_last_event(id, &mut request);
        }
        let tls = begin_tls(self.trust.as_ref(), &url, &mut request, &mut self.outgoing);
        let next = url.to_string().into();

        self.rows[row].forget_connection();
        self.tls.remove(&row);
        self.forget(row);
        self.tally.redirects += 1;
        (following.url, following.is_get) = (next, is_get);
        following.n_redirects = n_redirects;
        let handshake = handshake.map(|it| Handshake { n_redirects, ..it });
        let carried = Carried { following: Some(following), handshake, fields };
        self.dial(row, target, tls, &request, carried);
        self.request = request;
        Ok(())
    }
}
