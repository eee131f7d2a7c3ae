//! How each kind looks: names, colors for a light and a dark background, shapes.

use super::{LaneKind, MarkKind, SpanKind};

/// Further resources reuse these colors.
pub(super) const HELD_COLOURS: usize = 6;

/// Every color, as a class; the dark ones follow the browser's scheme. The colors are in separate rules rather than in
/// variables, which some viewers do not support.
pub(super) const STYLE: &str = r#"
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1f2328}
.title{font-size:19px;font-weight:600}
.small{font-size:11px;fill:#656d76}
.group{font-size:11px;font-weight:600;letter-spacing:.08em;fill:#656d76}
.on,.ink{font-size:10px;fill:#fff;pointer-events:none}.ink{fill:#1f2328}
.alarm{font-size:14px;font-weight:700;fill:#e5002b}
.ground{fill:#fff}.grid{stroke:#d8dee4}.edge{stroke:#afb8c1}
.up{fill:#cdebd5}.idle{fill:#f1f4f7}
.held0{fill:#2f74d0}.held1{fill:#0f958c}.held2{fill:#8a5cc9}.held3{fill:#7d8c12}.held4{fill:#5b7a94}.held5{fill:#a8653a}
.waiting{fill:#b3bcc6}
.hung{fill:#f0a800}.stopped,.dead{fill:#4a535d}.restarting{fill:#58b4f5}
.paused{fill:url(#paused)}.cutoff{fill:url(#cutoff)}.expired{fill:url(#expired)}
.amber{stroke:#c98b00}.violet{stroke:#8250df}.grey{stroke:#8c959f}
.violetground{fill:#e6dbfb}.greyground{fill:#e3e7eb}
.violation{fill:#ff0a3c}.band{fill:#ff0a3c;fill-opacity:.13}.line{stroke:#ff0a3c;stroke-width:1.5}
.mark{fill:#1f2328;stroke:#fff;stroke-width:1}.markline{stroke:#1f2328;stroke-width:2;fill:none}
.forgot{fill:#d9480f;stroke:#fff;stroke-width:1}.alarmmark{fill:#ff0a3c;stroke:#fff;stroke-width:1.5}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.small,.group{fill:#9198a1}.on,.ink{fill:#0d1117}.alarm{fill:#ff5c7a}
.ground{fill:#0d1117}.grid{stroke:#262c36}.edge{stroke:#444c56}
.up{fill:#143d25}.idle{fill:#171d26}
.held0{fill:#4a90e8}.held1{fill:#1fb5aa}.held2{fill:#a67ce3}.held3{fill:#a3b32c}.held4{fill:#7f9fb9}.held5{fill:#cc8455}
.waiting{fill:#4d5661}
.hung{fill:#d99a0b}.stopped,.dead{fill:#6e7681}.restarting{fill:#3a9be0}
.amber{stroke:#e3a520}.violet{stroke:#b28bff}.grey{stroke:#6e7681}
.violetground{fill:#33234f}.greyground{fill:#262c36}
.violation{fill:#ff2e58}.band{fill:#ff2e58;fill-opacity:.2}.line{stroke:#ff2e58}
.mark{fill:#e6edf3;stroke:#0d1117}.markline{stroke:#e6edf3}.forgot{fill:#ff8a4c;stroke:#0d1117}
.alarmmark{fill:#ff2e58;stroke:#0d1117}
}
"#;

/// Hatches, for nodes and processes that exist but do not work visibly.
pub(super) const PATTERNS: &str = r#"<pattern id="paused" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="amber" d="M0 0V6" stroke-width="4"/></pattern>
<pattern id="cutoff" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="violetground" width="6" height="6"/><path class="violet" d="M0 0V6" stroke-width="5"/></pattern>
<pattern id="expired" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="greyground" width="4" height="4"/><path class="grey" d="M0 0V4" stroke-width="2"/></pattern>
"#;

impl LaneKind {
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Node => "NODES",
            Self::Process => "PROCESSES",
        }
    }

    /// Returns the background of a lane.
    pub(super) fn ground(self) -> &'static str {
        match self {
            Self::Node => "up",
            Self::Process => "idle",
        }
    }
}

impl SpanKind {
    pub(super) fn class(self) -> String {
        match self {
            Self::Waiting => "waiting",
            Self::Held(resource) => return format!("held{}", resource % HELD_COLOURS),
            Self::Expired => "expired",
            Self::Paused => "paused",
            Self::Dead => "dead",
            Self::Hung => "hung",
            Self::Stopped => "stopped",
            Self::CutOff => "cutoff",
            Self::Restarting => "restarting",
            Self::Violation => "violation",
        }
        .to_owned()
    }

    pub(super) fn name(self, resources: &[String]) -> String {
        match self {
            Self::Waiting => "waiting",
            Self::Held(resource) => {
                return resources.get(resource).map_or_else(|| "held".to_owned(), |name| format!("held: {name}"));
            }
            Self::Expired => "validity over",
            Self::Paused => "process paused",
            Self::Dead => "process dead",
            Self::Hung => "hung",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
            Self::Restarting => "restarting",
            Self::Violation => "VIOLATION",
        }
        .to_owned()
    }

    /// Returns the share of the lane's height that it fills: waiting and death are thin lines, and holds are prominent.
    pub(super) fn height(self) -> f64 {
        match self {
            Self::Waiting => 0.3,
            Self::Dead => 0.4,
            _ => 1.0,
        }
    }

    /// Returns the class of text on it: light on a dark color, dark on a bright one, none on a hatch or a thin line.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::Waiting | Self::Dead | Self::Paused | Self::CutOff | Self::Expired => None,
            Self::Hung | Self::Restarting => Some("ink"),
            Self::Held(_) | Self::Stopped | Self::Violation => Some("on"),
        }
    }
}

impl MarkKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Acted => "acted",
            Self::Released => "released",
            Self::Extended => "extended",
            Self::Lost => "not got, or lost",
            Self::Killed => "killed",
            Self::Restarted => "restarted, keys kept",
            Self::Forgot => "restarted, keys lost",
            Self::Violation => "VIOLATION",
        }
    }

    /// Returns its shape, drawn around the origin.
    pub(super) fn shape(self) -> &'static str {
        match self {
            Self::Acted => r#"<rect class="mark" x="-2" y="-3.5" width="4" height="7"/>"#,
            Self::Released => r#"<circle class="mark" r="2.8"/>"#,
            Self::Extended => r#"<path class="mark" d="M-3.5-4.5 4.5 0-3.5 4.5z"/>"#,
            Self::Lost => r#"<path class="markline" d="M0-5V5"/>"#,
            Self::Killed => r#"<path class="markline" d="M-3.5-3.5 3.5 3.5M3.5-3.5-3.5 3.5"/>"#,
            Self::Restarted => r#"<path class="mark" d="M0-5 4.5 3.5H-4.5z"/>"#,
            Self::Forgot => r#"<path class="forgot" d="M0-6 5.5 4.5H-5.5z"/>"#,
            Self::Violation => r#"<path class="alarmmark" d="M0-8 8 0 0 8-8 0z"/>"#,
        }
    }
}
