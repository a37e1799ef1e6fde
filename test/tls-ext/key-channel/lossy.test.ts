/**
 * Both ends on connections that are cut at any byte and after any delay, with
 * restarts of either side, a KME that sometimes gives the answerer other bits,
 * and every order of events that fast-check finds.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import {
  type AnswererEvent,
  type DrawerEvent,
  type KeyChannelAnswerer,
  type KeyChannelDrawer,
  referenceId,
} from '../../../tls-ext/key-channel/index.ts';
import { ksidOf, newAnswerer, newDrawer, qos, reference004, reference014 } from './fixtures.ts';

/** What a KME pair would deliver for a reference: the same bytes at both ends, unless it is a broken key. */
function kmeKey(reference: QkdKeyReference, end: 'drawer' | 'answerer', broken: boolean): Uint8Array {
  const bytes = new Uint8Array(32);
  const text = referenceId(reference);
  for (let i = 0; i < text.length; i++) bytes[i % 32] = ((bytes[i % 32] as number) * 31 + text.charCodeAt(i)) & 0xff;
  if (broken && end === 'answerer') bytes[0] = (bytes[0] as number) ^ 1;
  return bytes;
}

/** A world with two proxies, two KMEs and a network, and the invariants that must hold in it at any time. */
class World {
  drawer: KeyChannelDrawer = newDrawer({ instance: 1 });
  answerer: KeyChannelAnswerer = newAnswerer({ instance: 128 });
  #instances = 1;
  #connection = 0;
  #up = false;
  #toAnswerer: number[] = [];
  #toDrawer: number[] = [];
  nowMs = 0;

  /** The drawer's KME: next index of each stream, streams that may be drawn from. */
  readonly #nextIndex = new Map<number, number>();
  #streams = 0;
  #keyIds = 0;
  readonly #live = new Set<number>();
  readonly #ending = new Set<number>();
  readonly #opened = new Set<number>();
  readonly #broken = new Set<string>();
  /** What the answerer is asked for and has not answered. */
  #requested: { ksid: Uint8Array }[] = [];
  #toFetch: QkdKeyReference[] = [];

  /** The drawer's pool, of its present process. */
  #drawn = new Map<string, QkdKeyReference>();
  readonly offerable = new Map<string, QkdKeyReference>();
  /** The answerer's store, of its present process. */
  #store = new Map<string, Uint8Array>();
  readonly #everOfferable = new Set<string>();
  readonly #everAccepted = new Set<string>();
  readonly #burnt = new Set<string>();

  connect(): void {
    if (this.#up) return;
    this.#up = true;
    this.#connection++;
    this.#drawerSays(this.drawer.connected());
    this.#answererSays(this.answerer.connected(this.#connection, []));
  }

  /** Bytes under way are lost. */
  cut(): void {
    if (!this.#up) return;
    this.#up = false;
    this.#toAnswerer = [];
    this.#toDrawer = [];
    this.drawer.disconnected();
    this.answerer.disconnected(this.#connection, this.nowMs);
  }

  deliver(to: 'drawer' | 'answerer', lengthBytes: number): void {
    if (to === 'drawer') {
      this.#drawerSays(this.drawer.receive(Uint8Array.from(this.#toDrawer.splice(0, lengthBytes)), this.nowMs));
    } else {
      const bytes = Uint8Array.from(this.#toAnswerer.splice(0, lengthBytes));
      this.#answererSays(this.answerer.receive(this.#connection, bytes, this.nowMs));
    }
  }

  restart(end: 'drawer' | 'answerer'): void {
    this.cut();
    this.#instances++;
    if (end === 'drawer') {
      this.drawer = newDrawer({ instance: this.#instances });
      this.#drawn.clear();
      this.offerable.clear();
      this.#opened.clear();
      this.#live.clear();
    } else {
      this.answerer = newAnswerer({ instance: 128 + this.#instances });
      this.#store.clear();
      this.#requested = [];
      this.#toFetch = [];
    }
  }

  openStream(): void {
    if (this.#streams >= 200) return;
    // An answerer has a bound on streams; a drawer needs one at a time.
    for (const old of [...this.#live]) {
      this.#ending.add(old);
      this.#drawerSays(this.drawer.endStream(ksidOf(old)));
    }
    const stream = ++this.#streams;
    this.#nextIndex.set(stream, 0);
    this.#live.add(stream);
    this.#drawerSays(this.drawer.openStream(ksidOf(stream), qos));
  }

  draw(count: number, broken: boolean): void {
    const stream = [...this.#opened].at(-1);
    if (stream === undefined || this.#ending.has(stream)) return;
    const references = Array.from({ length: Math.min(count, this.drawer.announceRoom()) }, () => {
      const index = this.#nextIndex.get(stream) as number;
      this.#nextIndex.set(stream, index + 1);
      return reference004(ksidOf(stream), index);
    });
    this.#announce(references, broken);
  }

  drawBatch(broken: boolean): void {
    if (this.drawer.announceRoom() === 0 || this.#keyIds >= 250) return;
    this.#announce([reference014(++this.#keyIds)], broken);
  }

  #announce(references: QkdKeyReference[], broken: boolean): void {
    if (references.length === 0) return;
    if (broken) this.#broken.add(referenceId(references[0] as QkdKeyReference));
    for (const reference of references) this.#drawn.set(referenceId(reference), reference);
    const keys = references.map((reference) => ({
      reference,
      secret: new SecretBytes(kmeKey(reference, 'drawer', false)),
    }));
    this.#drawerSays(this.drawer.announce(keys, 3_600_000, this.nowMs));
  }

  /** The answerer's KME answers what was asked first. */
  kmeAnswers(how: 'key' | 'pending' | 'not-found'): void {
    const stream = this.#requested.shift();
    if (stream !== undefined) {
      this.#answererSays(this.answerer.streamOpened(stream.ksid, 32));
      return;
    }
    const reference = this.#toFetch.shift();
    if (reference === undefined) return;
    if (how === 'pending') {
      this.#toFetch.push(reference);
      this.#answererSays(this.answerer.reportPending(reference));
    } else if (how === 'not-found') {
      this.#answererSays(this.answerer.reportNotFound(reference));
    } else {
      const bytes = kmeKey(reference, 'answerer', this.#broken.has(referenceId(reference)));
      this.#answererSays(this.answerer.provideKey(reference, new SecretBytes(bytes)));
    }
  }

  /** A handshake with the oldest offerable key: the answerer burns it, if it has it. */
  handshake(): void {
    const next = this.offerable.entries().next();
    if (next.done) return;
    const [id, reference] = next.value;
    this.offerable.delete(id);
    this.#drawn.delete(id);
    const atAnswerer = this.#store.get(id);
    if (atAnswerer !== undefined) {
      expect(atAnswerer, 'a key that is offered is the same at both ends').to.deep.equal(
        kmeKey(reference, 'drawer', false),
      );
      expect(this.#burnt.has(id), 'a key is burnt once').to.equal(false);
      this.#burnt.add(id);
      this.#store.delete(id);
      this.answerer.keyEnded(reference);
    }
    this.#drawerSays(this.drawer.keyUsed(reference));
  }

  drop(): void {
    const next = this.offerable.entries().next();
    if (next.done) return;
    const [id, reference] = next.value;
    this.offerable.delete(id);
    this.#drawn.delete(id);
    this.#drawerSays(this.drawer.keyDropped(reference));
  }

  /** Everything under way arrives, KMEs answer, until both ends are silent. */
  settle(): void {
    this.connect();
    for (let round = 0; round < 1000; round++) {
      if (this.#toAnswerer.length + this.#toDrawer.length + this.#requested.length + this.#toFetch.length === 0) return;
      this.deliver('answerer', this.#toAnswerer.length);
      this.deliver('drawer', this.#toDrawer.length);
      this.kmeAnswers('key');
    }
    throw new Error('the ends never fall silent');
  }

  /** What is offerable must be in the store of the answerer, once both ends are connected and silent. */
  expectAgreement(): void {
    expect([...this.offerable.keys()].filter((id) => !this.#store.has(id))).to.deep.equal([]);
    expect(this.#drawn.size, 'every key is either offerable or gone').to.equal(this.offerable.size);
  }

  get canDraw(): boolean {
    const newest = [...this.#opened].at(-1);
    return newest === this.#streams;
  }

  #drawerSays(events: readonly DrawerEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'write':
          if (this.#up) this.#toAnswerer.push(...event.bytes);
          break;
        case 'stream-opened':
          this.#opened.add(event.ksid[0] as number);
          break;
        case 'stream-ended':
          this.#opened.delete(event.ksid[0] as number);
          this.#live.delete(event.ksid[0] as number);
          break;
        case 'key-offerable': {
          const id = referenceId(event.reference);
          expect(this.#everOfferable.has(id), 'a key becomes offerable once').to.equal(false);
          expect(this.#broken.has(id), 'a key that differs is never offerable').to.equal(false);
          expect(this.#drawn.has(id), 'an offerable key is in the pool').to.equal(true);
          this.#everOfferable.add(id);
          this.offerable.set(id, event.reference);
          break;
        }
        case 'key-withdrawn':
          this.offerable.delete(referenceId(event.reference));
          this.#drawn.delete(referenceId(event.reference));
          break;
        case 'mismatch': {
          // Everything of the stream or batch is withdrawn in the same breath.
          const ksid = event.report.ksid;
          const withdrawn = new Set(
            events.flatMap((e) => (e.type === 'key-withdrawn' ? [referenceId(e.reference)] : [])),
          );
          for (const [id, reference] of this.offerable) {
            if (ksid !== undefined && reference.api === 'etsi004' && reference.ksid[0] === ksid[0]) {
              expect(withdrawn.has(id), 'nothing of a stream under quarantine stays offerable').to.equal(true);
            }
          }
          break;
        }
        case 'failed':
          throw event.error;
        default:
      }
    }
  }

  #answererSays(events: readonly AnswererEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'write':
          if (this.#up && event.connection === this.#connection) this.#toDrawer.push(...event.bytes);
          break;
        case 'stream-requested':
          this.#requested.push(event);
          break;
        case 'keys-announced':
          this.#toFetch.push(...event.references);
          break;
        case 'key-accepted': {
          const id = referenceId(event.reference);
          expect(this.#broken.has(id), 'a key that differs is never accepted').to.equal(false);
          expect(this.#burnt.has(id), 'a burnt key is never accepted again').to.equal(false);
          this.#everAccepted.add(id);
          this.#store.set(id, event.secret.expose());
          break;
        }
        case 'key-withdrawn':
          this.#store.delete(referenceId(event.reference));
          this.#toFetch = this.#toFetch.filter((reference) => referenceId(reference) !== referenceId(event.reference));
          break;
        case 'failed':
          throw event.error;
        default:
      }
    }
  }
}

type Step = (world: World) => void;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(fc.constantFrom('drawer' as const, 'answerer' as const), fc.integer({ min: 1, max: 400 })).map(
      ([to, n]): Step =>
        (w) =>
          w.deliver(to, n),
    ),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 9 })).map(
      ([n, dice]): Step =>
        (w) =>
          w.draw(n, dice === 0),
    ),
  },
  {
    weight: 6,
    arbitrary: fc
      .constantFrom('key' as const, 'key' as const, 'key' as const, 'pending' as const, 'not-found' as const)
      .map(
        (how): Step =>
          (w) =>
            w.kmeAnswers(how),
      ),
  },
  { weight: 3, arbitrary: fc.constant<Step>((w) => w.handshake()) },
  { weight: 3, arbitrary: fc.constant<Step>((w) => w.settle()) },
  { weight: 2, arbitrary: fc.constant<Step>((w) => w.openStream()) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 0, max: 9 }).map(
      (dice): Step =>
        (w) =>
          w.drawBatch(dice === 0),
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>((w) => w.connect()) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.drop()) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.cut()) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('drawer' as const, 'answerer' as const).map(
      (end): Step =>
        (w) =>
          w.restart(end),
    ),
  },
);

describe('key channel over connections that break', () => {
  it('keeps its promises, and both ends come together again', () => {
    let offerableAtTheEnd = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
        const world = new World();
        world.openStream();
        for (const one of steps) one(world);
        world.cut();
        world.settle();
        world.expectAgreement();
        // A fresh stream works whatever happened before.
        world.openStream();
        world.settle();
        expect(world.canDraw).to.equal(true);
        const before = world.offerable.size;
        world.draw(1, false);
        world.settle();
        world.expectAgreement();
        expect(world.offerable.size).to.equal(before + 1);
        offerableAtTheEnd += world.offerable.size;
      }),
      { numRuns: 400 },
    );
    // The steps do reach states with several keys, or the property would be empty.
    expect(offerableAtTheEnd).to.be.greaterThan(800);
  });
});
