//! Draws the picture in the README: the demo and its output, as a terminal that is light or dark like the page.

use std::{ffi::OsStr, fmt::Write as _, fs};

use anyhow::{Context, Result};

use crate::{
    command::{demo, output},
    workspace::Workspace,
};

/// Where the README expects it, from the workspace's root.
const FILE: &str = ".github/demo.svg";

const PROMPT: &str = "$ ";
const COMMAND: &str = "cargo xtask demo";

/// In pixels. Letters of a monospace font are about three fifths as wide as they are high.
const LETTER: usize = 13;
const WIDTH: f64 = 7.8;
const LINE: usize = 18;
const BLANK: usize = 8;
const MARGIN: usize = 20;

const STYLE: &str = "\
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }\n\
    .ground { fill: #f6f8fa; stroke: #d1d9e0 }\n\
    .command { font-weight: bold }\n\
    .heading { fill: #59636e }\n\
    .fault { fill: #a40e26 }\n\
    .good { fill: #116329; font-weight: bold }\n\
    @media (prefers-color-scheme: dark) {\n\
    text { fill: #f0f6fc }\n\
    .ground { fill: #151b23; stroke: #3d444d }\n\
    .heading { fill: #9198a1 }\n\
    .fault { fill: #ff7b72 }\n\
    .good { fill: #56d364 }\n\
    }\n";

/// Runs the demo and writes the picture. Returns the file.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let printed = output(&mut demo(workspace, &[] as &[&OsStr])).context("running the demo")?;
    fs::write(workspace.root.join(FILE), draw(&printed)).context(FILE)?;
    Ok(FILE.to_owned())
}

/// Draws the command and its output as SVG.
fn draw(printed: &str) -> String {
    let lines: Vec<_> = printed.trim_end().lines().collect();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default().max(COMMAND.len());
    let step = |line: &str| if line.trim().is_empty() { BLANK } else { LINE };
    let height = LINE + lines.iter().map(|line| step(line)).sum::<usize>() + 2 * MARGIN;
    let width = (longest as f64 * WIDTH) as usize + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"The output of {COMMAND}\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        width - 1,
        height - 1
    );
    let command = [("command", format!("{PROMPT}{COMMAND}"))].into_iter();
    let output = lines.iter().map(|line| (class(line), (*line).to_owned()));
    let mut y = MARGIN + LETTER;
    for (class, line) in command.chain(output) {
        if !line.trim().is_empty() {
            let _ = writeln!(svg, "<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", escaped(&line));
        }
        y += step(&line);
    }
    svg + "</svg>\n"
}

/// Returns the class for the color in which the demo prints the line on a terminal.
fn class(line: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if line.starts_with("OK:") {
        "good"
    } else if has(&["stopped ", "hung ", " stops: ", " hangs: "]) && line.starts_with(' ') {
        "fault"
    } else if has(&["p99", "granted "]) {
        "heading"
    } else {
        "text"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_output_is_drawn_below_the_command() {
        let svg = draw("16 workers\n\n  a & b < c\nOK: all counted\n");
        let texts: Vec<_> = svg.lines().filter(|line| line.starts_with("<text")).collect();
        assert_eq!(
            texts,
            [
                "<text class=\"command\" x=\"20\" y=\"33\">$ cargo xtask demo</text>",
                "<text class=\"text\" x=\"20\" y=\"51\">16 workers</text>",
                "<text class=\"text\" x=\"20\" y=\"77\">  a &amp; b &lt; c</text>",
                "<text class=\"good\" x=\"20\" y=\"95\">OK: all counted</text>",
            ]
        );
    }

    #[test]
    fn the_picture_is_as_large_as_its_text_and_fits_both_kinds_of_pages() {
        let svg = draw(&"x".repeat(100));
        assert!(svg.contains("width=\"820\" height=\"76\""), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"));
    }
}
