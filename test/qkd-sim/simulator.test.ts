import { expect } from 'chai';
import { decodeResponse, type Etsi004Request, encodeRequest } from '../../kdi-client/wire/index.ts';
import {
  type BlockReport,
  type LinkEvent,
  type SimulatedLink,
  type Simulator,
  type SimulatorEvent,
  type SimulatorOptions,
  startSimulator,
} from '../../qkd-sim/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { splitWhole } from '../kdi-client/support/split-whole.ts';
import { exchange, testPki } from './kme/kme-fixture.ts';

async function optionsWith(more: Partial<SimulatorOptions> = {}): Promise<SimulatorOptions> {
  const { kmeA, kmeB, ca } = await testPki();
  return {
    lengthKm: 0,
    blockSizeBits: 200_000,
    speed: Number.POSITIVE_INFINITY,
    kmes: [
      { kmeId: 'kme-a', saeIds: ['siteA'], tls: { cert: kmeA.certPem, key: kmeA.keyPem, ca: ca.certPem } },
      { kmeId: 'kme-b', saeIds: ['siteB'], tls: { cert: kmeB.certPem, key: kmeB.keyPem, ca: ca.certPem } },
    ],
    ...more,
  };
}

/** A link that does what the test says. */
class ScriptedLink implements SimulatedLink {
  readonly calls: string[] = [];
  #onEvent: (event: LinkEvent) => void = () => {};
  #block = 0;

  get factory(): NonNullable<SimulatorOptions['createLink']> {
    return (_config, { onEvent }) => {
      this.#onEvent = onEvent;
      return this;
    };
  }

  async start() {
    this.calls.push('start');
  }
  setEavesdropper(fraction: number) {
    this.calls.push(`eve ${fraction}`);
  }
  cut() {
    this.calls.push('cut');
  }
  heal() {
    this.calls.push('heal');
  }
  async stop() {
    this.calls.push('stop');
  }

  /** Delivers a block; returns the very arrays that it handed over. */
  deliver(lengthBytes: number): Uint8Array[] {
    const keys = [1, 2].map(() => Uint8Array.from({ length: lengthBytes }, (_, i) => (i * 7 + this.#block) & 0xff));
    const [aliceKey, bobKey] = keys as [Uint8Array, Uint8Array];
    this.#onEvent({ type: 'block', report: this.#report(), aliceKey, bobKey });
    return keys;
  }

  abort() {
    this.#onEvent({ type: 'block', report: { ...this.#report(), aborted: 'error-rate' } });
  }

  fail() {
    this.#onEvent({ type: 'failed', error: new Error('the worker died') });
  }

  #report(): BlockReport {
    const block = this.#block++;
    return { block, endLinkSeconds: 10 * (block + 1), qber: 0.02 } as BlockReport;
  }
}

async function call(simulator: Simulator, side: 0 | 1, request: Etsi004Request) {
  const sae = side === 0 ? 'siteA' : 'siteB';
  const reply = await exchange(simulator.kmes[side].port, sae, encodeRequest('etsi', request));
  const [frame] = splitWhole('responses', reply);
  if (frame === undefined) throw new Error('no reply');
  return decodeResponse(frame);
}

const QOS = {
  keyChunkSizeBytes: 32,
  maxBps: 0,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 0,
  ttlSeconds: 60,
  metadataMimetype: 'application/json',
};

/** Opens a stream from both ends. */
async function connect(simulator: Simulator): Promise<Uint8Array> {
  const open = { service: 'open-connect', source: 'siteA', destination: 'siteB', qos: QOS } as const;
  const opened = await call(simulator, 0, { ...open, ksid: new Uint8Array(16) });
  if (opened.service !== 'open-connect' || opened.stream === undefined) throw new Error(`status ${opened.status}`);
  expect((await call(simulator, 1, { ...open, ksid: opened.stream.ksid })).status).to.equal(0);
  return opened.stream.ksid;
}

async function getKey(simulator: Simulator, side: 0 | 1, ksid: Uint8Array, index: number): Promise<string> {
  const reply = await call(simulator, side, { service: 'get-key', ksid, index, metadataSize: 200 });
  if (reply.service !== 'get-key' || reply.delivery === undefined) return `status ${reply.status}`;
  return hexOf(reply.delivery.key);
}

describe('qkd-sim: simulator', () => {
  it('carries key from photons to both applications', async function () {
    this.timeout(30_000);
    const simulator = await startSimulator(await optionsWith({ seed: 'photons', storeKeysPerDirection: 16 }));
    try {
      await simulator.firstKeys;
      const status = simulator.status();
      expect(status.lastBlock?.qber).to.be.within(0.005, 0.05);
      expect(status.stores.aToB).to.deep.equal({ availableBytes: 512, capacityBytes: 512 });
      expect(status.droppedBytes).to.equal((status.lastBlock?.deliveredBits ?? 0) / 8 - 1024);
      expect(status.link).to.equal('paused');
      const ksid = await connect(simulator);
      const keys = new Set<string>();
      for (const index of [0, 1, 2]) {
        const key = await getKey(simulator, 0, ksid, index);
        expect(key).to.match(/^[0-9a-f]{64}$/);
        expect(await getKey(simulator, 1, ksid, index)).to.equal(key);
        keys.add(key);
      }
      expect(keys.size).to.equal(3);
    } finally {
      await simulator.close();
    }
  });

  describe('with a scripted link', () => {
    let link: ScriptedLink;
    let simulator: Simulator;
    let events: SimulatorEvent[];

    const start = async (more: Partial<SimulatorOptions> = {}) => {
      link = new ScriptedLink();
      events = [];
      simulator = await startSimulator(
        await optionsWith({ createLink: link.factory, storeKeysPerDirection: 4, ...more }),
      );
      simulator.subscribe((event) => events.push(event));
    };
    afterEach(() => simulator.close());

    it('forecasts what the link will do, with an eavesdropper that it would do nothing', async () => {
      await start({ lengthKm: 25, blockSizeBits: 1_000_000 });
      expect(simulator.forecast.skrBitsPerSecond).to.be.within(3_000, 7_000);
      expect(simulator.forecast.qber).to.be.within(0.015, 0.025);
      await simulator.close();
      await start({ lengthKm: 25, eavesdropperFraction: 0.5 });
      expect(simulator.forecast.skrBitsPerSecond).to.equal(0);
    });

    it('says where its key managers are and how it stands', async () => {
      await start({ eavesdropperFraction: 0.5 });
      for (const kme of simulator.kmes) expect(kme.etsi004).to.equal(`etsi004://127.0.0.1:${kme.port}`);
      expect(simulator.status()).to.deep.include({ blocks: 0, eavesdropperFraction: 0.5, link: 'running' });
    });

    it('wipes what the link handed over once it is stored', async () => {
      await start();
      for (const key of link.deliver(64)) expect(key.every((byte) => byte === 0)).to.equal(true);
      await simulator.firstKeys;
      expect(simulator.status()).to.deep.include({ blocks: 1, storedBytes: 64, droppedBytes: 0, linkSeconds: 10 });
    });

    it('pauses the link while the stores are full, and lets it run when key was drawn', async () => {
      await start();
      link.deliver(300);
      expect(link.calls).to.deep.equal(['start', 'cut']);
      expect(simulator.status()).to.deep.include({ link: 'paused', storedBytes: 256, droppedBytes: 44 });
      const ksid = await connect(simulator);
      await getKey(simulator, 0, ksid, 0);
      expect(link.calls).to.deep.equal(['start', 'cut', 'heal']);
      expect(events.filter((event) => event.type === 'link').map((event) => event.state)).to.deep.equal([
        'paused',
        'running',
      ]);
    });

    it('lets the link run and drops the surplus where it is told to', async () => {
      await start({ surplus: 'drop' });
      link.deliver(300);
      link.deliver(300);
      expect(link.calls).to.deep.equal(['start']);
      expect(simulator.status()).to.deep.include({ link: 'running', storedBytes: 256, droppedBytes: 344 });
    });

    it('does either from when it is told to', async () => {
      await start({ surplus: 'drop' });
      link.deliver(300);
      simulator.setSurplus('pause');
      expect(simulator.status().link).to.equal('paused');
      simulator.setSurplus('drop');
      expect(simulator.status().link).to.equal('running');
      expect(link.calls).to.deep.equal(['start', 'cut', 'heal']);
    });

    it('keeps a cut fibre cut whatever the stores want, and a full store paused after it healed', async () => {
      await start();
      link.deliver(300);
      simulator.cutFibre();
      simulator.heal();
      expect(simulator.status().link).to.equal('paused');
      simulator.cutFibre();
      await getKey(simulator, 0, await connect(simulator), 0);
      expect(simulator.status().link).to.equal('cut');
      expect(link.calls).to.deep.equal(['start', 'cut']);
      simulator.heal();
      expect(link.calls).to.deep.equal(['start', 'cut', 'heal']);
    });

    it('tells the link of an eavesdropper, and counts the blocks it ruins', async () => {
      await start();
      simulator.setEavesdropper(0.25);
      expect(() => simulator.setEavesdropper(1.5))
        .to.throw()
        .with.property('code', 'ERR_SIM_CONFIG');
      link.abort();
      expect(link.calls).to.deep.equal(['start', 'eve 0.25']);
      expect(simulator.status()).to.deep.include({ blocks: 1, abortedBlocks: 1, storedBytes: 0 });
    });

    it('goes on serving what it has when the link dies, and says so', async () => {
      await start();
      link.deliver(64);
      link.fail();
      expect(await simulator.failure).to.include({ code: 'ERR_SIM_LINK_FAILED' });
      const ksid = await connect(simulator);
      expect(await getKey(simulator, 0, ksid, 0)).to.equal(await getKey(simulator, 1, ksid, 0));
      expect(events.some((event) => event.type === 'warning')).to.equal(true);
      expect(simulator.status().link).to.equal('failed');
    });

    it('tells who waits for the first keys that there will be none', async () => {
      await start();
      const waiting = simulator.firstKeys.then(
        () => undefined,
        (error: unknown) => error,
      );
      await simulator.close();
      expect(await waiting).to.include({ code: 'ERR_SIM_CLOSED' });
      for (const key of link.deliver(64)) expect(key.every((byte) => byte === 0)).to.equal(true);
      expect(link.calls).to.deep.equal(['start', 'stop']);
    });

    it('reports each delivered key by its reference only', async () => {
      await start();
      link.deliver(128);
      const ksid = await connect(simulator);
      const key = await getKey(simulator, 1, ksid, 3);
      const told = JSON.stringify(events);
      expect(told).to.include(`${hexOf(ksid)}/3`);
      expect(told).to.not.include(key);
    });
  });

  describe('refuses', () => {
    const refused = async (more: Partial<SimulatorOptions>) => {
      const link = new ScriptedLink();
      const options = await optionsWith({ createLink: link.factory, ...more });
      const error = await startSimulator(options).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      return { error: error as { code?: string; message?: string } | undefined, link };
    };

    it('an address that others can reach, unless asked for', async () => {
      const { kmes } = await optionsWith();
      for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org']) {
        const exposed = [{ ...kmes[0], host }, kmes[1]] as const;
        expect((await refused({ kmes: exposed })).error?.code, host).to.equal('ERR_SIM_EXPOSED');
      }
    });

    it('a port in use, and leaves nothing running', async () => {
      const first = new ScriptedLink();
      const running = await startSimulator(await optionsWith({ createLink: first.factory }));
      const { kmes } = await optionsWith();
      const taken = [kmes[0], { ...kmes[1], port: running.kmes[0].port }] as const;
      const { error, link } = await refused({ kmes: taken });
      expect(error?.code).to.equal('ERR_SIM_LISTEN');
      expect(error?.message).to.include(`127.0.0.1:${running.kmes[0].port}`);
      expect(link.calls).to.deep.equal(['stop']);
      await running.close();
    });

    it('what the link itself can not do', async () => {
      const options = { ...(await optionsWith()), blockSizeBits: 3 };
      const error = await startSimulator(options).catch((reason: unknown) => reason);
      expect(error).to.include({ code: 'ERR_SIM_CONFIG' });
    });

    it('options that can not be', async () => {
      const { kmes } = await optionsWith();
      const bad: Partial<SimulatorOptions>[] = [
        { speed: 0 },
        { lengthKm: Number.NaN },
        { eavesdropperFraction: 2 },
        { storeKeysPerDirection: 0 },
        { kmes: [kmes[0], { ...kmes[1], kmeId: 'kme-a' }] },
        { kmes: [kmes[0], { ...kmes[1], saeIds: ['siteA'] }] },
      ];
      for (const more of bad)
        expect((await refused(more)).error?.code, JSON.stringify(more)).to.equal('ERR_SIM_CONFIG');
    });
  });
});
