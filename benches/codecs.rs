//! What every request and every frame from a client goes through.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pulsar_proxy::api::delivery;
use pulsar_proxy::api::publish::{parse_bulk, parse_one};
use pulsar_proxy::http::{HeadDecoder, HeadLimits};
use pulsar_proxy::ws::frame::{self, FrameHeader, Opcode};
use pulsar_proxy::ws::{Assembler, AssemblerLimits, mask};

const HEAD: &[u8] = b"POST /api/v1/messages HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\n\
    User-Agent: bench/1.0\r\n\
    Accept: */*\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 256\r\n\r\n";
const HEAD_LIMITS: HeadLimits = HeadLimits {
    bytes_max: 32 * 1024,
    headers_max: 100,
    target_bytes_max: 16 * 1024,
};
const JSON: Option<&[u8]> = Some(b"application/json");
const BODY_BYTES: usize = 256;
const MESSAGE_LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 1024 * 1024,
    fragments_max: 1024,
    takes_compressed: false,
};

/// A publish body of just [`BODY_BYTES`] bytes.
fn body() -> String {
    let front = r#"{"topic":"notifications","payload":{"id":12345,"ok":true,"text":""#;
    let back = r#""},"metadata":{"source":"bench"}}"#;
    let text = "x".repeat(BODY_BYTES - front.len() - back.len());
    format!("{front}{text}{back}")
}

fn http(c: &mut Criterion) {
    let mut group = c.benchmark_group("http");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("head", |b| {
        b.iter(|| {
            let mut decoder = HeadDecoder::default();
            let decoded = decoder.decode(black_box(HEAD), &HEAD_LIMITS);
            matches!(decoded, Ok(Some((_, len))) if len == HEAD.len())
        });
    });
    group.finish();
}

fn publish(c: &mut Criterion) {
    let body = body();
    let mut group = c.benchmark_group("publish body");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("one of 256 bytes", |b| {
        b.iter(|| parse_one(black_box(body.as_bytes()), JSON).is_ok());
    });
    let publication = parse_one(body.as_bytes(), JSON).expect("it is valid");
    group.bench_function("frame", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            delivery::encode(
                black_box(&publication),
                "2026-01-31T12:00:00.123456Z",
                &mut out,
            )
        });
    });
    let bulk = format!("{{\"messages\":[{}]}}", vec![body.as_str(); 50].join(","));
    group.throughput(Throughput::Elements(50));
    group.bench_function("bulk of 50", |b| {
        b.iter(|| parse_bulk(black_box(bulk.as_bytes()), JSON).is_ok());
    });
    group.finish();
}

/// A frame as a client sends it.
fn client_frame(payload_len: usize, fin: bool, opcode: Opcode) -> Vec<u8> {
    let header = FrameHeader {
        is_compressed: false,
        fin,
        opcode,
        mask: [1, 2, 3, 4],
        payload_len: payload_len as u64,
    };
    let mut bytes = Vec::new();
    frame::encode_client_frame(&header, &vec![b'x'; payload_len], &mut bytes);
    bytes
}

fn websocket(c: &mut Criterion) {
    let mut group = c.benchmark_group("ws");
    let frame = client_frame(200, true, Opcode::Text);
    group.throughput(Throughput::Elements(1));
    group.bench_function("frame header", |b| {
        b.iter(|| frame::decode(black_box(&frame), false));
    });
    for len in [64, 64 * 1024] {
        let mut data = vec![0; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("mask {len} bytes"), |b| {
            b.iter(|| mask::apply([1, 2, 3, 4], 1, black_box(&mut data)));
        });
    }
    let mut pieces = client_frame(4096, false, Opcode::Text);
    pieces.extend(client_frame(4096, false, Opcode::Continuation));
    pieces.extend(client_frame(4096, true, Opcode::Continuation));
    for (name, input) in [
        ("assemble 1 frame of 200", frame),
        ("assemble 3 of 4096", pieces),
    ] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || input.clone(),
                |input| assemble(input),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Feeds all of the input; says how many events came of it.
fn assemble(input: &mut [u8]) -> usize {
    let (mut assembler, mut at, mut events) = (Assembler::default(), 0, 0);
    loop {
        let fed = assembler.feed(&mut input[at..], &MESSAGE_LIMITS);
        let Ok(fed) = fed else { return events };
        events += usize::from(fed.event.is_some());
        if fed.consumed == 0 {
            return events;
        }
        at += fed.consumed;
    }
}

criterion_group!(benches, http, publish, websocket);
criterion_main!(benches);
