//! The settings themselves: one typed struct, whose doc comments are also the reference in `docs/configuration.md`.
//!
//! Every field says what it does, its unit where it has one, and what it costs. The default stands after the `=`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::choices::{BesideCalls, Chinese, LogFormat, SpeechFormat, TlsMode, TurnEndMode};
use super::keep_fast::KeepFast;
use super::span::Span;
use signaling::http::IceServer;
use signaling::secret::Secret;

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Its doc comment, a line each.
    pub doc: &'static [&'static str],
}

/// A struct of settings, with its defaults and the list of its fields.
macro_rules! settings {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl $name {
            pub(super) const FIELDS: &'static [Field] =
                &[$(Field { name: stringify!($field), doc: &[$($doc),*] },)*];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

settings! {
    /// Everything that can be set.
    Config {
        /// Address and TCP port of the page, the API and the signaling. Cost: an address other than loopback lets the
        /// network in, so it needs `api_keys`, and `tls` for browsers to give a page the microphone.
        listen: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
        /// Folder of the history (SQLite), the recordings, and the models unless `models_dir` is set. Cost: about 0.4 MB a
        /// minute of conversation for both sides' audio.
        data_dir: PathBuf = "data".into(),
        /// File with the key under which the history, the recordings and the voices lie encrypted in `data_dir`, made by
        /// `avatar encryption new-key`; they lie readable when not set. Cost: who loses the key loses all of it.
        data_key_file: Option<PathBuf> = None,
        /// Folder of the models; `models` in `data_dir` when not set. Cost: 200 MB with the starter models.
        models_dir: Option<PathBuf> = None,
        /// Where models are pulled from: a server with the Hugging Face layout. Cost: none until `avatar models pull`.
        hub: String = models::catalogue::hub::DEFAULT_HUB.into(),
        /// UDP port for the audio of all calls; 0 takes the same number as `listen`, so that a firewall opens one number.
        /// Cost: one socket and one thread.
        udp_port: u16 = 0,
        /// Address that callers reach this machine at, where that is not its own: behind NAT, in a container. Cost: none;
        /// a wrong one makes calls fail to connect.
        public_address: Option<IpAddr> = None,
        /// STUN and TURN servers given to callers, each `{ urls = ["turn:host:3478"], username = "…", credential = "…" }`.
        /// Cost: each one adds candidates to try, and up to a second to connecting when it does not answer.
        ice_servers: Vec<IceServer> = Vec::new(),
        /// Most calls at the same time; the next one is refused with 503. Unit: calls. Cost: 1.5 % of a core and 0.4 MB a
        /// call for media, and whatever the engines take.
        max_calls: u16 = 5,
        /// Keys that clients may present as `Authorization: Bearer …`; at least 16 characters each. Required when `listen`
        /// is not loopback. Cost: none.
        api_keys: Vec<Secret> = Vec::new(),
        /// How HTTPS is done.
        tls: Tls = Tls::default(),
        /// Which engine does what.
        engines: Engines = Engines::default(),
        /// How speech is written down.
        stt: Stt = Stt::default(),
        /// Engines on other servers: what holds for all of them.
        remote: Remote = Remote::default(),
        /// What a session starts with, unless the client says otherwise.
        session: SessionDefaults = SessionDefaults::default(),
        /// How replies are rendered again for the history.
        hq: Hq = Hq::default(),
        /// How long conversations are kept, and what they are called.
        history: HistorySettings = HistorySettings::default(),
        /// Who may use the server from where, beside its keys.
        security: Security = Security::default(),
        /// What each key that was given out (`avatar keys create`) may use.
        limits: Limits = Limits::default(),
        /// What is logged, and how. Transcripts and keys never are.
        log: Log = Log::default(),
    }
}

settings! {
    /// Who may use the server from where, beside its keys. See `SECURITY.md`.
    Security {
        /// Pages of other servers that may call this one, as `https://shop.example`; `*` for all, which needs keys. The server's
        /// own page and pages on the same computer always may. Cost: scripts of such a page may do what its visitor's key may.
        origins: Vec<String> = Vec::new(),
        /// Names beside `localhost` that a server without keys answers to, as `avatar.example`, for a proxy in front that lets in
        /// only whom it knows. Cost: any page that a visitor has open may reach the server under that name.
        hosts: Vec<String> = Vec::new(),
    }
}

settings! {
    /// What each key that was given out may use, unless it says otherwise itself; what is beyond is refused with 429. The keys in
    /// `api_keys` have no limits.
    Limits {
        /// Requests a minute of each key; 0 for no limit. Unit: requests. Cost: 100 bytes a key.
        requests_per_minute: u32 = 600,
        /// Calls at once of each key; 0 for no limit but `max_calls`. Unit: calls. Cost: none.
        calls: u16 = 0,
        /// Talk of each key a day (UTC), all its calls together; 0 for no limit. A call that has begun is not cut. Unit: minutes.
        /// Cost: a write to the disk a minute and call.
        talk_minutes_per_day: u32 = 0,
        /// Text that each key may have said by `/v1/audio/speech` a day (UTC), as the voice is given it; 0 for no limit. Calls are
        /// not counted here. Unit: characters. Cost: a write to the disk a request.
        speech_characters_per_day: u32 = 0,
        /// Recordings that each key may have listened to by `/v1/audio/transcriptions` a day (UTC); 0 for no limit. Calls are not
        /// counted here. Unit: minutes. Cost: a write to the disk a request.
        transcribed_minutes_per_day: u32 = 0,
        /// What each key may have read and written by `/v1/chat/completions` a day (UTC), prompts and replies; 0 for no limit. Calls
        /// are not counted here. Unit: tokens. Cost: a write to the disk a request.
        tokens_per_day: u32 = 0,
        /// Wrong keys a minute from one address (one /64 network of IPv6) before it must wait; 0 for no limit. Unit: requests. Cost:
        /// behind a proxy all clients share its address, and one that does not yet use its key waits with those that guess.
        wrong_keys_per_minute: u32 = 20,
    }
}

settings! {
    /// How HTTPS is done.
    Tls {
        /// `off`: plain HTTP. `auto`: a self-signed certificate, made when there is none or it has expired. `files`: `cert` and
        /// `key`. Cost: browsers warn of a self-signed certificate once.
        mode: TlsMode = TlsMode::Off,
        /// PEM file with the certificate chain, for `files`. Cost: none.
        cert: Option<PathBuf> = None,
        /// PEM file with the private key, for `files`. Cost: none.
        key: Option<PathBuf> = None,
        /// Folder of the self-signed certificate, for `auto`. Cost: two small files, the key readable by its owner only.
        dir: PathBuf = "certs".into(),
    }
}

settings! {
    /// Which engine does what: the id of a model in `avatar models list`, `auto` for the best one that is present, or `remote`
    /// for the server in `[remote.llm]`, `[remote.stt]` or `[remote.tts]`.
    Engines {
        /// Voice activity. Cost: 0.1 ms of CPU for each 32 ms of a call.
        vad: String = "auto".into(),
        /// Turn ends; `off` leaves it to silence alone. Cost: about 30 ms of CPU at each pause of the caller.
        turn: String = "auto".into(),
        /// Speech to text. Cost: with Moonshine tiny 15 ms a second of speech on one core; see `docs/benchmarks.md`.
        stt: String = "auto".into(),
        /// Language model. Cost: memory as `avatar models list` shows it, once for all calls; its speed sets the pause before
        /// a reply.
        llm: String = "auto".into(),
        /// Text to speech. `auto` speaks with a neural voice that is present if a warm-up sentence at start takes less than 0.8 of
        /// its own length here, else with Flite. Cost: with Flite 12 ms, with Festival 20 ms of CPU a second of speech; with
        /// `pocket-tts` up to all of two cores, and some seconds at start.
        tts: String = "auto".into(),
        /// Who writes speech down when `stt` fails, in mid-conversation: an id, `off`, or `auto` for the best one present where
        /// `stt` is `remote`, and nobody where it is not. Cost: its memory.
        stt_fallback: String = "auto".into(),
        /// Who answers when `llm` fails, in mid-conversation: the same. Cost: its memory.
        llm_fallback: String = "auto".into(),
        /// Who speaks when `tts` fails, in mid-conversation: the same. Cost: its memory.
        tts_fallback: String = "auto".into(),
        /// Where models compute: `auto`, `cpu`, `cuda:0` (or another number), `metal`, `vulkan`. `auto` puts on a card what fits
        /// for `max_calls` calls, see `docs/gpu.md`; a card by name is used alone, with the CPU for the rest. Cost: on a card its
        /// memory, as `avatar doctor` shows it.
        device: String = "auto".into(),
    }
}

settings! {
    /// How speech is written down.
    Stt {
        /// Names and jargon that callers use, as they are written: "Avatar, Wei-Ting, candle". Whisper heeds as much as
        /// 223 tokens hold, about 150 words; Moonshine cannot. Cost: the words are read anew in every pass.
        prompt: String = String::new(),
        /// Characters of Chinese. `auto`: traditional ones where `session.language` or the client's language is `zh-TW`,
        /// `zh-HK` or `zh-Hant`. `traditional`: always. `as_heard`: as the engine writes them. Cost: the dictionaries are
        /// unpacked when the first such text is written.
        chinese: Chinese = Chinese::Auto,
    }
}

settings! {
    /// What holds for all engines on other servers. Each has a section of its own too.
    Remote {
        /// How long connecting may take. Unit: a time. Cost: a caller waits so long for a server that is switched off before the
        /// fallback answers.
        connect_timeout: Span = Span::from_millis(1_000),
        /// How often a request is sent again when the connection fails, or the server answers 429 or 5xx, before anything of the
        /// answer was used. Unit: times. Cost: none while the server works.
        retries: u32 = 1,
        /// After so many failures in a row a server is left alone, and the fallback answers at once. Unit: failures. Cost: many
        /// let callers wait for a dead server, few give up on one that stumbled.
        failures: u32 = 2,
        /// How long it is left alone at first; it doubles while the server stays down, up to two minutes. Unit: a time. Cost: so
        /// long a server that is back goes unused.
        rest: Span = Span::from_millis(5_000),
        /// PEM file with further certificate authorities to believe, for servers with certificates of your own. Cost: none.
        ca_file: Option<PathBuf> = None,
        /// A server that answers: `/v1/chat/completions`.
        llm: RemoteLlm = RemoteLlm::default(),
        /// A server that writes speech down: `/v1/audio/transcriptions`.
        stt: RemoteStt = RemoteStt::default(),
        /// A server that speaks: `/v1/audio/speech`.
        tts: RemoteTts = RemoteTts::default(),
    }
}

settings! {
    /// A server that answers.
    RemoteLlm {
        /// Its address, as `http://127.0.0.1:8000/v1`. Cost: every conversation is sent there.
        url: Option<String> = None,
        /// Sent as `Authorization: Bearer …`. Cost: without https anyone on the way can read it.
        api_key: Option<Secret> = None,
        /// The server's name for the model; empty takes the first that it lists. Cost: none.
        model: String = String::new(),
        /// How long the first word may take. Unit: a time. Cost: a caller waits so long before the fallback answers.
        first_timeout: Span = Span::from_millis(4_000),
        /// How long the next word may take. Unit: a time. Cost: a reply that stalls keeps its caller waiting so long.
        pause_timeout: Span = Span::from_millis(4_000),
        /// How long a whole reply may take. Unit: a time. Cost: none.
        total_timeout: Span = Span::from_millis(60_000),
        /// A JSON object that goes into every request as it is, as `{"chat_template_kwargs": {"enable_thinking": false}}`. Cost:
        /// a model that thinks aloud lets its caller wait; this is the place to turn that off.
        extra: String = String::new(),
    }
}

settings! {
    /// A server that writes speech down.
    RemoteStt {
        /// Its address, as `http://127.0.0.1:8000/v1`. Cost: all that callers say is sent there.
        url: Option<String> = None,
        /// Sent as `Authorization: Bearer …`. Cost: without https anyone on the way can read it.
        api_key: Option<Secret> = None,
        /// The server's name for the model; empty takes the first that it lists. Cost: none.
        model: String = String::new(),
        /// How long a transcript may take. Unit: a time. Cost: a caller waits so long before the fallback listens.
        first_timeout: Span = Span::from_millis(4_000),
        /// How long a transcript of a recording may take, each ten minutes of it. Unit: a time. Cost: none.
        total_timeout: Span = Span::from_millis(300_000),
        /// Whether speech is sent while the caller still speaks, so that words appear early. Cost: the speech of an utterance is
        /// sent about twice a second, each time from its beginning.
        partials: bool = true,
        /// What lies at least between two of those, of all calls together. Unit: a time. Cost: a short one keeps the server busy.
        partial_spacing: Span = Span::from_millis(250),
    }
}

settings! {
    /// A server that speaks.
    RemoteTts {
        /// Its address, as `http://127.0.0.1:8000/v1`. Cost: all that is answered is sent there.
        url: Option<String> = None,
        /// Sent as `Authorization: Bearer …`. Cost: without https anyone on the way can read it.
        api_key: Option<Secret> = None,
        /// The server's name for the model; empty takes the first that it lists. Cost: none.
        model: String = String::new(),
        /// The server's names of voices, the default first; callers see them as `remote/NAME`. Cost: none.
        voices: Vec<String> = Vec::new(),
        /// `pcm`: raw samples at `rate`. `wav`: with a header that says the rate. Cost: some servers make a whole WAV file
        /// before they send any of it.
        format: SpeechFormat = SpeechFormat::Pcm,
        /// Sample rate of `pcm`, where the answer doesn't say. Unit: Hz. Cost: a wrong one makes voices high or low.
        rate: u32 = 24_000,
        /// How long the first sound may take. Unit: a time. Cost: a caller waits so long before the fallback speaks.
        first_timeout: Span = Span::from_millis(4_000),
        /// How long more sound may take. Unit: a time. Cost: a sentence that stalls keeps its caller waiting so long.
        pause_timeout: Span = Span::from_millis(4_000),
        /// How long a whole sentence may take. Unit: a time. Cost: none.
        total_timeout: Span = Span::from_millis(60_000),
    }
}

settings! {
    /// What a session starts with.
    SessionDefaults {
        /// System prompt. Cost: its tokens are read once a conversation; small models follow short ones best.
        instructions: String = "Answer in one or two short sentences.".into(),
        /// Voice, as `flite/slt`; empty takes the engine's own default. Cost: none.
        voice: String = String::new(),
        /// Language that is spoken, BCP 47; not set means that it is detected, where the engine can. Cost: detection takes
        /// Whisper one more encoder pass.
        language: Option<String> = None,
        /// How the end of a turn is found. `semantic`: silence, and a model that judges whether the caller has finished.
        /// `silence`: silence alone. `manual`: the client says so. Cost: `silence` cuts people off who pause to think.
        turn_end: TurnEndMode = TurnEndMode::Semantic,
        /// How long silence ends a turn when `turn_end` is `silence`. Unit: a time, as `500ms` or `1.2s`. Cost: each reply
        /// begins that much later; short ones cut people off.
        turn_silence: Span = Span::from_millis(500),
        /// Speaking over a reply stops it. Cost: none.
        interrupt_response: bool = true,
        /// How freely words are chosen; 0 always takes the likeliest. Unit: none, 0 to 2. Cost: none; small models talk nonsense
        /// above 0.5.
        temperature: f64 = 0.2,
        /// Longest reply. Unit: tokens, about 0.75 words each. Cost: a runaway reply keeps the language model busy so long.
        max_reply_tokens: u32 = 200,
        /// How long a call whose connection was lost waits for its client to come back and go on in mid-sentence; 0: not at
        /// all. Unit: seconds. Cost: it takes a place among the calls meanwhile, after five seconds only until somebody
        /// else needs it.
        resume_seconds: u32 = 30,
        /// How long a client can come back to its conversation and settings when its call has ended, by a restart of the server
        /// too; 0: not at all. Unit: hours. Cost: the settings are kept so long.
        resume_hours: u32 = 24,
    }
}

settings! {
    /// How replies are rendered again for the history, in a better voice than there is time for while somebody waits.
    Hq {
        /// Who renders: `off`, an engine (`pocket-tts`, `remote`, `festival`, `flite`), or `auto`: the neural voice where its
        /// weights are, else the server in `[remote.tts]`, else Festival. A voice made of a recording renders its own replies. Cost:
        /// its time for each second of a reply, when no call needs the machine; its memory where calls do not use it anyway.
        engine: String = "auto".into(),
        /// Whether it renders while calls run. `never`; `quiet`: while in none of them anybody speaks or is about to be answered;
        /// `always`. Cost: with `always` a call's answer may come later; with `never` a client hears of better audio after the call.
        beside_calls: BesideCalls = BesideCalls::Quiet,
        /// How long the audio that was made live is kept once the better one is there: `always`, `until_ready`, or a number of
        /// days. Cost: 0.2 MB a minute of replies.
        keep_fast: KeepFast = KeepFast::Days(30),
        /// Of the better audio, Ogg Opus at 48 kHz. Unit: bits a second, 24000 to 128000. Cost: 0.5 MB a minute at 64000.
        bitrate: u32 = 64_000,
    }
}

settings! {
    /// How long conversations are kept, and what they are called.
    HistorySettings {
        /// Conversations that were not gone on with for so long are removed, texts and recordings; 0 keeps them for ever. Unit: days.
        /// Cost: none; what is removed is gone.
        keep_days: u32 = 0,
        /// When the recordings take more than this, the conversations that were gone on with longest ago are removed; 0 sets no
        /// bound. Unit: MiB. Cost: none; what is removed is gone, but nothing of the last hour.
        keep_mib: u64 = 0,
        /// The language model gives conversations a title when no call is up. Cost: some seconds of computing a conversation; a
        /// call that comes stops it at once.
        titles: bool = true,
    }
}

settings! {
    /// What is logged.
    Log {
        /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,avatar=debug`. Cost: `debug` writes some lines a
        /// turn, `trace` some a packet.
        level: String = "info".into(),
        /// `text` for people, `json` for machines: one object a line. Cost: none.
        format: LogFormat = LogFormat::Text,
    }
}

/// One key in full, as `tls.mode`, with what documents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub path: String,
    pub field: Field,
}

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        match self.path.as_str() {
            // The name that tests and scripts share with it.
            "models_dir" => "AVATAR_MODELS".into(),
            path => format!("AVATAR_{}", path.replace('.', "_").to_ascii_uppercase()),
        }
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.path.as_str(), "api_keys" | "ice_servers") || self.path.ends_with(".api_key")
    }
}

/// The sections: name, and the fields in each. A section in a section has its name after a dot, and stands after it.
pub(super) const SECTIONS: &[(&str, &[Field])] = &[
    ("tls", Tls::FIELDS),
    ("engines", Engines::FIELDS),
    ("stt", Stt::FIELDS),
    ("remote", Remote::FIELDS),
    ("remote.llm", RemoteLlm::FIELDS),
    ("remote.stt", RemoteStt::FIELDS),
    ("remote.tts", RemoteTts::FIELDS),
    ("session", SessionDefaults::FIELDS),
    ("hq", Hq::FIELDS),
    ("history", HistorySettings::FIELDS),
    ("security", Security::FIELDS),
    ("limits", Limits::FIELDS),
    ("log", Log::FIELDS),
];

pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(section, _)| *section)
}

pub(super) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == path)
}

/// Every key, in the order of the reference.
pub fn keys() -> Vec<Key> {
    let top = Config::FIELDS.iter().map(|field| Key { path: field.name.to_owned(), field: *field });
    let nested = SECTIONS.iter().flat_map(|(section, fields)| {
        fields.iter().map(move |field| Key { path: format!("{section}.{}", field.name), field: *field })
    });
    top.chain(nested).filter(|key| !is_section(&key.path)).collect()
}

/// What is said of a section, where it is named as a field.
pub(super) fn about(section: &str) -> Option<Field> {
    let (outer, name) = section.rsplit_once('.').unwrap_or(("", section));
    let fields = SECTIONS.iter().find(|(other, _)| *other == outer).map_or(Config::FIELDS, |(_, fields)| *fields);
    fields.iter().find(|field| field.name == name).copied()
}
