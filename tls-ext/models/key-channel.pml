/*
 * The key channel: two ends that outlive their connections, restarts of either
 * process, cuts at any moment, KMEs that give different keys, keys dropped and
 * too old, and application handshakes that use the keys meanwhile.
 *
 * Claims: a key is offerable only if both ends got the same bits; it becomes
 * offerable once and is burnt at most once; nothing of a stream under
 * quarantine stays offerable; when all is quiet, whatever the drawer offers the
 * answerer holds, and nothing hangs in between.
 *
 * -DBREAK=n leaves out one rule, and pan must find an error:
 *   1 neither end compares check values      2 keys survive a new answerer instance
 *   3 an ended key is fetched again          4 burning is no compare-and-set
 *   5 a mismatch ends its key, not the stream   6 nothing is announced again
 *   7 an ended stream is opened again     8 a mismatch is forgotten when its result is lost
 */
#ifndef BREAK
#define BREAK 0
#endif

#define KEYS 2
#define STREAMS 2
#define QUEUE 7
#define NONE 255

/* Messages; the answerer's hello and the drawer's have the instance as argument. */
mtype = { hello, stream, keys, dropped, close_stream, opened, failed, result };
/* Of a result, and of close_stream. */
#define ACKED_OK 0
#define MISMATCH 1
#define UNAVAILABLE 2
#define FINISHED 3

chan d2a = [QUEUE] of { mtype, byte, byte };
chan a2d = [QUEUE] of { mtype, byte, byte };
bool up = false;

/* The drawer. */
#define D_NONE 0
#define D_ANNOUNCED 1
#define D_OFFERABLE 2
#define D_ENDED 3
byte dKey[KEYS];
/* 0 none, 1 opening, 2 open, 3 ended */
#define ST_NONE 0
#define ST_OPENING 1
#define ST_OPEN 2
#define ST_ENDED 3
byte dStream[STREAMS];
bool dQuarantined[STREAMS];
bool dUnsentDrop[KEYS];
bool dReady = false;
byte dPeer = NONE;
byte nextKey = 0;
byte nextStream = 0;

/* The answerer. */
#define A_NONE 0
#define A_FETCHING 1
#define A_ACCEPTED 2
#define A_ENDED 3
byte aKey[KEYS];
byte aStream[STREAMS];
bool aMismatched[STREAMS];
/* Announced, asked for, on this connection: elsewhere no answer can go. */
bool aKeyHere[KEYS];
bool aStreamHere[STREAMS];
/* Keys below it have had their turn in this process. */
byte aNextKey = 0;
byte aInstance = 0;

/* The world. */
byte streamOf[KEYS];
bool differs[KEYS];
byte becameOfferable[KEYS];
byte burnt[KEYS];
/* What may go wrong: each of these once, INCIDENTS of them in all, in any order and at any time. */
#define INCIDENTS 3
#define mayHappen(what) (what > 0 && incidents > 0)
#define happens(what) what--; incidents--
byte incidents = INCIDENTS;
bit cuts = 1;
bit drawerRestarts = 1;
bit answererRestarts = 1;
bit drops = 1;
bit expiries = 1;
bit differing = 1;
bit losses = 1;

/* Whether one of the keys is in that state, and any such one. */
#define some(key, state) (key[0] == state || key[1] == state)
#define choose(key, state, k) if :: key[0] == state -> k = 0 :: key[1] == state -> k = 1 fi
inline toAnswerer(m, x, y) { assert(nfull(d2a)); d2a!m,x,y }
inline toDrawer(m, x, y) { assert(nfull(a2d)); a2d!m,x,y }
inline disconnect(j) {
  for (j : 0 .. KEYS - 1) { aKeyHere[j] = false }
  for (j : 0 .. STREAMS - 1) { aStreamHere[j] = false }
  up = false;
  dReady = false;
  do :: d2a?_,_,_ :: empty(d2a) -> break od;
  do :: a2d?_,_,_ :: empty(a2d) -> break od
}

/* The drawer's keys of stream s: all of them, or those not acked. */
inline drawerWithdraws(s, unackedOnly, j) {
  for (j : 0 .. KEYS - 1) {
    if
    :: dKey[j] != D_NONE && streamOf[j] == s && (!(unackedOnly) || dKey[j] == D_ANNOUNCED) -> dKey[j] = D_ENDED
    :: else
    fi
  }
}

active proctype Drawer() {
  byte k, s, status, j;
end:
  do
  :: atomic { a2d?hello,s,_ ->
       dReady = true;
       if
       :: dPeer != NONE && dPeer != s && BREAK != 2 ->
            for (k : 0 .. KEYS - 1) {
              dUnsentDrop[k] = false;
              if :: dKey[k] != D_NONE -> dKey[k] = D_ENDED :: else fi
            }
            for (j : 0 .. STREAMS - 1) { if :: dStream[j] != ST_NONE -> dStream[j] = ST_ENDED :: else fi }
       :: else
       fi;
       dPeer = s;
       for (k : 0 .. KEYS - 1) {
         if :: dUnsentDrop[k] -> dUnsentDrop[k] = false; toAnswerer(dropped, k, 0) :: else fi
       }
       for (j : 0 .. STREAMS - 1) {
         if :: dStream[j] == ST_OPENING || dStream[j] == ST_OPEN -> toAnswerer(stream, j, 0) :: else fi
       }
       for (k : 0 .. KEYS - 1) {
         if
         :: BREAK != 6 && (dKey[k] == D_ANNOUNCED || dKey[k] == D_OFFERABLE) -> toAnswerer(keys, k, 0)
         :: else
         fi
       }
       s = 0; k = 0; j = 0
     }
  :: atomic { a2d?opened,s,_ ->
       if :: dStream[s] == ST_OPENING -> dStream[s] = ST_OPEN :: else fi;
       s = 0
     }
  :: atomic { a2d?failed,s,_ ->
       if
       :: dStream[s] == ST_OPENING || dStream[s] == ST_OPEN ->
            dStream[s] = ST_ENDED;
            drawerWithdraws(s, true, j)
       :: else
       fi;
       s = 0; j = 0
     }
  :: atomic { a2d?result,k,status ->
       if
       :: dKey[k] == D_ENDED || dKey[k] == D_NONE
       :: else ->
            if
            :: status == ACKED_OK && (!differs[k] || BREAK == 1) ->
                 if
                 :: dKey[k] == D_ANNOUNCED ->
                      dKey[k] = D_OFFERABLE;
                      becameOfferable[k]++;
                      assert(becameOfferable[k] == 1);
                      assert(!differs[k]);
                      assert(!dQuarantined[streamOf[k]])
                 :: else
                 fi
            :: status == UNAVAILABLE -> dKey[k] = D_ENDED
            :: else ->
                 dQuarantined[streamOf[k]] = true;
                 if
                 :: BREAK == 5 -> dKey[k] = D_ENDED
                 :: else -> drawerWithdraws(streamOf[k], false, j)
                 fi;
                 if
                 :: dStream[streamOf[k]] != ST_ENDED ->
                      dStream[streamOf[k]] = ST_ENDED;
                      toAnswerer(close_stream, streamOf[k], MISMATCH)
                 :: else
                 fi;
                 for (j : 0 .. KEYS - 1) {
                   assert(!(dKey[j] == D_OFFERABLE && dQuarantined[streamOf[j]]))
                 }
            fi
       fi;
       k = 0; j = 0; status = 0
     }
  /* A fresh stream when there is none. */
  :: atomic { nextStream < STREAMS && (nextStream == 0 || dStream[nextStream - 1] == ST_ENDED) ->
       dStream[nextStream] = ST_OPENING;
       if :: dReady -> toAnswerer(stream, nextStream, 0) :: else fi;
       nextStream++
     }
  /* Draw one key and announce it. The KMEs may have different bits for it. */
  :: atomic { nextStream > 0 && dStream[nextStream - 1] == ST_OPEN && nextKey < KEYS ->
       streamOf[nextKey] = nextStream - 1;
       dKey[nextKey] = D_ANNOUNCED;
       if :: mayHappen(differing) -> happens(differing); differs[nextKey] = true :: true fi;
       if :: dReady -> toAnswerer(keys, nextKey, 0) :: else fi;
       nextKey++
     }
  /* Done with the stream: it is closed when all of its keys are settled. */
  :: atomic { dReady && nextKey == KEYS && nextStream > 0 && dStream[nextStream - 1] == ST_OPEN &&
              !some(dKey, D_ANNOUNCED) ->
       dStream[nextStream - 1] = ST_ENDED;
       toAnswerer(close_stream, nextStream - 1, FINISHED)
     }
  /* Burns an offerable key unused. */
  :: atomic { mayHappen(drops) && some(dKey, D_OFFERABLE) ->
       happens(drops);
       choose(dKey, D_OFFERABLE, k);
       dKey[k] = D_ENDED;
       if :: dReady -> toAnswerer(dropped, k, 0) :: else -> dUnsentDrop[k] = true fi;
       k = 0
     }
  od
}

/* The answerer's keys of stream s: all of them, or those not fetched. */
inline answererWithdraws(s, unfetchedOnly, j) {
  for (j : 0 .. KEYS - 1) {
    if
    :: streamOf[j] == s && (aKey[j] == A_FETCHING || (aKey[j] == A_ACCEPTED && !(unfetchedOnly))) -> aKey[j] = A_ENDED
    :: else
    fi
  }
}
inline answers(k, status) {
  if :: aKeyHere[k] -> toDrawer(result, k, status) :: else fi
}

active proctype Answerer() {
  byte k, s, status, j;
end:
  do
  :: atomic { d2a?hello,_,_ }
  :: atomic { d2a?stream,s,_ ->
       aStreamHere[s] = true;
       if
       :: aStream[s] == ST_NONE || (aStream[s] == ST_ENDED && BREAK == 7) -> aStream[s] = ST_OPENING
       :: aStream[s] == ST_OPEN -> toDrawer(opened, s, 0)
       /* The keys of a stream that did not match are answered with the mismatch instead. */
       :: aStream[s] == ST_ENDED && BREAK != 7 && (!aMismatched[s] || BREAK == 8) -> toDrawer(failed, s, 0)
       :: else
       fi;
       s = 0
     }
  :: atomic { d2a?keys,k,_ ->
       aKeyHere[k] = true;
       if
       :: aKey[k] == A_FETCHING
       :: aKey[k] == A_ACCEPTED -> answers(k, ACKED_OK)
       :: else ->
            /* Keys are drawn only after `opened`. */
            assert(aStream[streamOf[k]] != ST_OPENING);
            if
            :: aStream[streamOf[k]] == ST_OPEN && (k >= aNextKey || BREAK == 3) ->
                 aKey[k] = A_FETCHING;
                 aNextKey = k + 1
            :: aStream[streamOf[k]] != ST_OPEN && aMismatched[streamOf[k]] && BREAK != 8 -> answers(k, MISMATCH)
            :: else -> answers(k, UNAVAILABLE)
            fi
       fi;
       k = 0
     }
  :: atomic { d2a?dropped,k,_ ->
       if :: aKey[k] == A_FETCHING || aKey[k] == A_ACCEPTED -> aKey[k] = A_ENDED :: else fi;
       k = 0
     }
  :: atomic { d2a?close_stream,s,status ->
       if
       :: aStream[s] != ST_ENDED -> aStream[s] = ST_ENDED; answererWithdraws(s, status != MISMATCH, j)
       :: else
       fi;
       s = 0; status = 0; j = 0
     }
  /* Our KME answers. */
  :: atomic { aStream[0] == ST_OPENING || aStream[1] == ST_OPENING ->
       if
       :: aStream[0] == ST_OPENING -> s = 0
       :: aStream[1] == ST_OPENING -> s = 1
       fi;
       aStream[s] = ST_OPEN;
       if :: aStreamHere[s] -> toDrawer(opened, s, 0) :: else fi;
       s = 0
     }
  :: atomic { mayHappen(losses) && nextStream > 0 && aStream[nextStream - 1] == ST_OPEN ->
       happens(losses);
       s = nextStream - 1;
       aStream[s] = ST_ENDED;
       answererWithdraws(s, true, j);
       if :: aStreamHere[s] -> toDrawer(failed, s, 0) :: else fi;
       s = 0; j = 0
     }
  :: atomic { some(aKey, A_FETCHING) ->
       choose(aKey, A_FETCHING, k);
       if
       :: differs[k] && BREAK != 1 ->
            answers(k, MISMATCH);
            aKey[k] = A_ENDED;
            aMismatched[streamOf[k]] = true;
            aStream[streamOf[k]] = ST_ENDED;
            answererWithdraws(streamOf[k], false, j)
       :: else -> aKey[k] = A_ACCEPTED; answers(k, ACKED_OK)
       fi;
       k = 0; j = 0
     }
  /* Too old; the drawer's margin makes it the first to stop. */
  :: atomic { mayHappen(expiries) && some(aKey, A_ACCEPTED) ->
       happens(expiries);
       choose(aKey, A_ACCEPTED, k);
       if :: dKey[k] != D_NONE -> dKey[k] = D_ENDED :: else fi;
       aKey[k] = A_ENDED;
       k = 0
     }
  od
}

/* An application connection's handshake with a key that the drawer holds offerable. Two may have offered the same one. */
byte started = 0;
active [2] proctype Handshake() {
  byte k;
  /* In order of their names, for symmetry. */
  atomic { started == _pid - 2 -> started++ };
  if
  :: true
  :: atomic { some(dKey, D_OFFERABLE) -> choose(dKey, D_OFFERABLE, k) }; goto offered
  fi;
  goto done;
offered:
  if
  :: aKey[k] != A_ACCEPTED -> goto done /* `unavailable` */
  :: atomic { aKey[k] == A_ACCEPTED -> assert(!differs[k]) }
  fi;
  /* The client sends Finished: for the drawer the key is used. */
  if :: dKey[k] == D_OFFERABLE -> dKey[k] = D_ENDED :: else fi;
  /* The server verified it: it burns the key, or fails the handshake. */
  atomic {
    if
    :: aKey[k] == A_ACCEPTED || BREAK == 4 ->
         aKey[k] = A_ENDED;
         burnt[k]++;
         assert(burnt[k] == 1)
    :: else
    fi
  }
done:
  skip
}

active proctype World() {
  byte k, s;
end:
  do
  :: atomic { !up ->
       up = true;
       toAnswerer(hello, 0, 0);
       toDrawer(hello, aInstance, 0)
     }
  :: atomic { up && mayHappen(cuts) -> happens(cuts); disconnect(k); k = 0 }
  :: atomic { mayHappen(answererRestarts) ->
       happens(answererRestarts);
       disconnect(k);
       aInstance++;
       aNextKey = 0;
       for (k : 0 .. KEYS - 1) { aKey[k] = A_NONE }
       for (s : 0 .. STREAMS - 1) { aStream[s] = ST_NONE; aMismatched[s] = false }
       k = 0; s = 0
     }
  :: atomic { mayHappen(drawerRestarts) ->
       happens(drawerRestarts);
       disconnect(k);
       dPeer = NONE;
       for (k : 0 .. KEYS - 1) { dUnsentDrop[k] = false; if :: dKey[k] != D_NONE -> dKey[k] = D_ENDED :: else fi }
       for (s : 0 .. STREAMS - 1) { if :: dStream[s] != ST_NONE -> dStream[s] = ST_ENDED :: else fi }
       k = 0; s = 0
     }
  od
}

/* When nothing can happen any more, both ends must have come together. */
active proctype Quiet() {
  byte k;
end:
  atomic { timeout ->
    assert(up && dReady && empty(d2a) && empty(a2d));
    for (k : 0 .. KEYS - 1) {
      assert(dKey[k] != D_ANNOUNCED);
      assert(dKey[k] != D_OFFERABLE || aKey[k] == A_ACCEPTED);
      assert(aKey[k] != A_FETCHING)
    }
    for (k : 0 .. STREAMS - 1) { assert(dStream[k] != ST_OPENING) }
  }
}
