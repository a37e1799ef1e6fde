import { mock } from 'node:test';
import { expect } from 'chai';
import { AnswererLink } from '../../proxy/key-service/answerer-link.ts';
import { DrawerLink } from '../../proxy/key-service/drawer-link.ts';
import { SecretBytes } from '../../tls-ext/bytes/index.ts';

/** Lets immediates run, and what they start. */
const turn = async (): Promise<void> => {
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** An answerer's link over a machine that says one byte for each key. */
function answererLink() {
  const sent: number[][] = [];
  const state = { lookUpsUnderWay: 0 };
  let keys = 0;
  const link = new AnswererLink({
    machine: {
      connected: () => [],
      tick: () => [],
      disconnected: () => {},
      provideKey: (_reference: unknown, secret: SecretBytes) => {
        secret.wipe();
        return [{ type: 'write', connection: 1, bytes: Uint8Array.of(++keys) }];
      },
    } as never,
    nowMs: () => 0,
    onMismatch: () => {},
    streamFailure: () => 'other' as never,
    onBug: (error) => {
      throw error;
    },
    onKeys: () => {},
  });
  link.attachFetcher({ lookUpsUnderWay: () => state.lookUpsUnderWay } as never);
  const accepted = link.accept(
    {
      keepAlive: () => {},
      setDataHandler: () => {},
      send: (bytes: Uint8Array) => sent.push([...bytes]),
      close: () => {},
    } as never,
    {} as never,
  );
  const secret = new SecretBytes(new Uint8Array(32));
  const keyFetched = (lookUpsUnderWay: number): void => {
    state.lookUpsUnderWay = lookUpsUnderWay;
    link.keyFetched({ api: 'skip', drawer: 'siteA', keyId: Uint8Array.of(1) }, secret);
  };
  return { link, accepted, sent, keyFetched };
}

describe('what the key channel carries', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }));
  afterEach(() => mock.timers.reset());

  it('results of keys that are looked up one by one go out together, with the last of them', async () => {
    const { link, sent, keyFetched } = answererLink();
    keyFetched(2);
    await turn();
    keyFetched(1);
    await turn();
    expect(sent).to.deep.equal([]);
    keyFetched(0);
    await turn();
    expect(sent).to.deep.equal([[1, 2, 3]]);
    keyFetched(0);
    await turn();
    expect(sent, 'a single one at once').to.deep.equal([[1, 2, 3], [4]]);
    mock.timers.tick(1_000);
    expect(sent).to.have.length(2);
    link.stop();
  });

  it('they do not wait for a key manager that takes its time', async () => {
    const { link, sent, keyFetched } = answererLink();
    keyFetched(2);
    keyFetched(1);
    mock.timers.tick(19);
    expect(sent).to.deep.equal([]);
    mock.timers.tick(1);
    expect(sent).to.deep.equal([[1, 2]]);
    link.stop();
  });

  it('what waits is said before the connection is closed, and is dropped with one that is lost', async () => {
    const stopped = answererLink();
    stopped.keyFetched(1);
    stopped.link.stop();
    expect(stopped.sent).to.deep.equal([[1]]);
    const lost = answererLink();
    lost.keyFetched(1);
    lost.accepted.ended();
    mock.timers.tick(1_000);
    await turn();
    expect(lost.sent).to.deep.equal([]);
    lost.link.stop();
  });

  it('the drawer says how its key delivery is doing when that changes, not with each key, and again to each connection', () => {
    const said: string[] = [];
    const link = new DrawerLink({
      machine: {
        takeOver: () => [],
        disconnected: () => {},
        setState: ({ poolKeys, kmeName, kmeReachable, reasons }: Record<string, unknown>) => {
          said.push(`${kmeName} ${kmeReachable} ${reasons} ${poolKeys}`);
          return [];
        },
      } as never,
      nowMs: () => 0,
      referenceText: () => '',
      onMismatch: () => {},
      onNotFound: () => {},
      onQuarantine: () => {},
      onBug: (error) => {
        throw error;
      },
      stateReason: (reason) => reason as never,
    });
    const connect = (): void => link.connected({ greeting: {} as never, send: () => {}, hangUp: () => {} });
    connect();
    link.tellState({ kmeName: 'kme-a', poolKeys: 0, reason: 'pool_empty' });
    link.tellState({ kmeName: 'kme-a', poolKeys: 1 });
    link.tellState({ kmeName: 'kme-a', poolKeys: 2 });
    link.tellState({ kmeName: 'kme-b', poolKeys: 2 });
    link.tellState({ kmeName: 'kme-b', poolKeys: 0, reason: 'kme_unreachable' });
    link.disconnected();
    connect();
    link.tellState({ kmeName: 'kme-b', poolKeys: 0, reason: 'kme_unreachable' });
    expect(said).to.deep.equal([
      'kme-a true pool_empty 0',
      'kme-a true  1',
      'kme-b true  2',
      'kme-b false kme_unreachable 0',
      'kme-b false kme_unreachable 0',
    ]);
    link.stop();
  });

  describe('of a used key nothing is sent, and the channel hears of it', () => {
    const key = (id: string) => ({
      reference: { api: 'skip', drawer: 'siteA', keyId: Uint8Array.of(id.charCodeAt(0)) } as const,
      secret: new SecretBytes(new Uint8Array(32)),
      expiresAtMs: 1_000_000,
    });
    const nameOf = ({ keyId }: { readonly keyId: Uint8Array }): string => String.fromCharCode(...keyId);
    let done: string[];
    let link: DrawerLink;

    /** A link whose machine has room for `quota` keys, and that has announced a and b. */
    const started = (quota: number): void => {
      done = [];
      const held = new Set<string>();
      const noting = (what: string) => () => {
        done.push(what);
        return [];
      };
      const machine = {
        takeOver: noting('takeOver'),
        receive: noting('receive'),
        tick: noting('tick'),
        keyDropped: noting('dropped'),
        endStream: noting('endStream'),
        openStream: () => [],
        disconnected: () => {},
        announceRoom: () => quota - held.size,
        announce: (keys: readonly ReturnType<typeof key>[]) => {
          for (const { reference } of keys) held.add(nameOf(reference));
          done.push(`announce ${keys.map(({ reference }) => nameOf(reference)).join('')}`);
          return [];
        },
        keyUsed: (reference: { readonly keyId: Uint8Array }) => {
          held.delete(nameOf(reference));
          done.push(`used ${nameOf(reference)}`);
          return [];
        },
      };
      link = new DrawerLink({
        machine: machine as never,
        nowMs: () => 0,
        referenceText: (reference) => nameOf(reference as never),
        onMismatch: () => {},
        onNotFound: () => {},
        onQuarantine: () => {},
        onBug: (error) => {
          throw error;
        },
        stateReason: () => undefined,
      });
      link.attachPool({ channelDown: () => {} } as never);
      link.announceKeys([key('a'), key('b')]);
      done = [];
    };
    afterEach(() => link.stop());

    const occasions: Readonly<Record<string, { readonly act: () => void; readonly what: string }>> = {
      'it receives': { act: () => link.receive(new Uint8Array()), what: 'receive' },
      'a second is over': { act: () => mock.timers.tick(1_000), what: 'tick' },
      'it is on another connection': {
        act: () => link.connected({ greeting: {} as never, send: () => {}, hangUp: () => {} }),
        what: 'takeOver',
      },
      'it announces': { act: () => link.announceKeys([key('c')]), what: 'announce c' },
      'a key is dropped': { act: () => link.dropKeys([key('b').reference]), what: 'dropped' },
      'a stream is closed': { act: () => link.closeStream(Uint8Array.of(1)), what: 'endStream' },
    };
    for (const [name, { act, what }] of Object.entries(occasions)) {
      it(`before ${name}`, () => {
        started(10);
        link.announceStream(Uint8Array.of(1), {} as never);
        link.keyUsed(key('a').reference);
        expect(done).to.deep.equal([]);
        act();
        expect(done).to.deep.equal(['used a', what]);
      });
    }

    it('at once, where others wait for its room', () => {
      started(2);
      link.announceKeys([key('c'), key('d')]);
      expect(done).to.deep.equal([]);
      link.keyUsed(key('a').reference);
      expect(done).to.deep.equal(['used a', 'announce c']);
    });
  });
});
