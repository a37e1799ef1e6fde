import { spawnSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock } from 'node:test';
import { expect } from 'chai';
import { createLineLog, createLog, RepeatLimiter } from '../../proxy/log.ts';

describe('proxy log', () => {
  const cleanUps: (() => void)[] = [];
  afterEach(() => {
    for (const cleanUp of cleanUps.splice(0)) cleanUp();
  });

  it('writes one JSON object per line, with time, level and event', () => {
    const lines: string[] = [];
    const log = createLineLog((line) => lines.push(line));
    log.info({ event: 'listening', service: 'a\nb', role: 'client', address: '127.0.0.1:1' });
    log.warn({ event: 'stopped', connectionsCut: 2 });
    expect(lines).to.have.length(2);
    for (const line of lines) expect(line).to.match(/^[^\n]*\n$/);
    const [first, second] = lines.map((line) => JSON.parse(line));
    expect(first).to.include({ level: 'info', event: 'listening', service: 'a\nb' });
    expect(new Date(first.time).toISOString()).to.equal(first.time);
    expect(second).to.include({ level: 'warn', event: 'stopped', connectionsCut: 2 });
  });

  it('leaves out what is below its level', () => {
    const lines: string[] = [];
    const log = createLineLog((line) => lines.push(line), 'warn');
    log.debug({ event: 'stopped', connectionsCut: 0 });
    log.info({ event: 'stopped', connectionsCut: 0 });
    log.error({ event: 'stopped', connectionsCut: 0 });
    expect(lines).to.have.length(1);
  });

  it('drops an event that comes after its end, as of a channel that is just closing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
    try {
      const file = join(folder, 'log');
      const log = createLog({ fd: openSync(file, 'w') });
      log.info({ event: 'stopped', connectionsCut: 1 });
      await log.flush();
      log.info({ event: 'stopped', connectionsCut: 2 });
      log.error({ event: 'stopped', connectionsCut: 3 });
      const lines = readFileSync(file, 'utf8').trim().split('\n');
      expect(lines.map((line) => JSON.parse(line).connectionsCut)).to.deep.equal([1]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('writes a line that came while another write was under way, without waiting for one more', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
    cleanUps.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'pipe');
    spawnSync('mkfifo', [path]);
    const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const log = createLog({ fd: openSync(path, constants.O_WRONLY) });
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      // More than a pipe holds: this write lasts until somebody reads.
      log.info({ event: 'internal-error', code: 'X', error: 'x'.repeat(200_000) });
      log.info({ event: 'stopped', connectionsCut: 3 });
      mock.timers.tick(60_000);
    } finally {
      mock.timers.reset();
    }
    const reader = new Socket({ fd: readEnd, readable: true, writable: false });
    cleanUps.push(() => reader.destroy());
    let text = '';
    for await (const chunk of reader.setEncoding('utf8')) {
      text += chunk;
      if (text.includes('"event":"stopped"')) break;
    }
    expect(text.trim().split('\n')).to.have.length(2);
    await log.flush();
  });

  describe('RepeatLimiter', () => {
    it('passes a few of a kind in a window, then says how many it held back', () => {
      let nowMs = 0;
      const limiter = new RepeatLimiter({ windowMs: 1_000, perWindow: 2, nowMs: () => nowMs });
      expect(limiter.pass('x')).to.deep.equal({ suppressed: 0 });
      expect(limiter.pass('x')).to.deep.equal({ suppressed: 0 });
      expect(limiter.pass('x')).to.equal(undefined);
      expect(limiter.pass('x')).to.equal(undefined);
      expect(limiter.pass('y'), 'another kind').to.deep.equal({ suppressed: 0 });
      nowMs = 1_000;
      expect(limiter.pass('x')).to.deep.equal({ suppressed: 2 });
      expect(limiter.pass('x')).to.deep.equal({ suppressed: 0 });
    });
  });
});
