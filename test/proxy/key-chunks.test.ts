import { connect } from 'node:net';
import { expect } from 'chai';
import type { QosLimits } from '../../qkd-sim/kme/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { collect, startSites, TestApplication, type TwoSites } from './sites.ts';

const CHUNK_BYTES = 1_024;
const KEYS_PER_CHUNK = CHUNK_BYTES / 32;

describe('004 chunks of many keys', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;

  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());
  afterEach(async () => {
    await sites.close();
    await kmes.close();
  });

  async function start(qos: Partial<QosLimits> = {}) {
    kmes = await startKmes({ settings: { qos } });
    kmes.fill(2 * 4 * CHUNK_BYTES);
    const at = (url: string) => ({
      kmes: kmesAt(url).kmes.map((kme) => ({
        ...kme,
        settings: { etsi004: { qos: { keysPerChunk: KEYS_PER_CHUNK } } },
      })),
    });
    sites = await startSites({ backend: application.address, client: at(kmes.urlA), server: at(kmes.urlB) });
  }

  async function use() {
    const before = sites.clientLog.all('connection').length;
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return await sites.clientLog.next('connection', () => true, before + 1);
  }

  it('serve a connection each with one GET_KEY at either end', async () => {
    await start();
    await sites.clientLog.next('keys-ready');
    const keyIds = new Set<string | undefined>();
    for (let i = 0; i < KEYS_PER_CHUNK; i++) {
      const { mode, keyId } = await use();
      expect(mode).to.equal('qkd-and-pqc');
      keyIds.add(keyId);
    }
    expect(keyIds.size).to.equal(KEYS_PER_CHUNK);
    const slices = [...keyIds].map((keyId) => keyId?.split(':').slice(3).join(':'));
    expect(slices).to.include.members([`0:0`, `0:${KEYS_PER_CHUNK - 5}`]);
    // The second chunk was drawn when four keys of the first were left.
    expect(kmes.answered.map(({ index }) => index)).to.deep.equal([0, 1]);
  });

  it('of the size that both key managers impose', async () => {
    await start({ maxChunkBytes: 96, onChunkSize: 'impose' });
    await sites.clientLog.next('keys-ready');
    const slices: string[] = [];
    for (let i = 0; i < 6; i++) slices.push((await use()).keyId?.split(':').slice(3).join(':') ?? '');
    expect(slices).to.deep.equal(['0:0', '0:1', '0:2', '1:0', '1:1', '1:2']);
  });
});
