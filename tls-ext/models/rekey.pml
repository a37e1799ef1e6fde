/*
 * The rekey of a live connection (draft, "Rekeying a live connection"). The
 * client asks, the server looks the key up and answers some time later; each
 * direction changes its epoch right after the sender's last message of the old
 * one: the server's after Response, the client's after Finish. The server takes
 * the key out of its store when a request names it. `rekey_wanted` may cross a
 * request; keys may be lost, differ or be burnt by another connection; either
 * side may close at any time, and the other may then send a KeyUpdate.
 *
 * Claims: a receiver opens every record with the epoch and the secret that it
 * was sealed with; a message never comes in a state that has no rule for it,
 * nor after its sender's close_notify; each key is burnt at most once, and
 * before anything is sent under it; a `used` rekey is one with a key that both
 * ends hold; keys that are lost, differ or were burnt leave the connection
 * alive; both ends end in the same epoch.
 *
 * -DBREAK=n leaves out one rule, and pan must find an error:
 *   1 the client acts on a `rekey_wanted` that crossed its request
 *   2 the server changes its write epoch at Finish, not after Response
 *   3 no binder and no confirmation are checked
 *   4 the client sends close_notify with a request outstanding
 *   5 taking a key is no compare-and-set
 *   6 the server answers after its own close_notify
 *   7 the client gives up its request when it reads a close_notify, and sends Finish nevertheless
 *   8 the server leaves the key where it is, so that something else can use it as well
 *   9 the server answers a request that it was still looking a key up for when it closed
 *  10 a side sends KeyUpdate before the other has closed
 *  11 a second request is sent while the first is outstanding
 */
#ifndef BREAK
#define BREAK 0
#endif

#define KEYS 2
#define QUEUE 6
#define MAX_EPOCH 2
#define NO_KEY 255
/* Secrets of an epoch: 100 + key where the ends agree; the server's own bits of a key that differs: 200 + key. */
#define HANDSHAKE_SECRET 0
#define WITHOUT_KEY 99
/* "traffic upd": the secret after a KeyUpdate. */
#define UPDATED 50

mtype = { request, response, finish, rekey_wanted, data, close_notify, key_update };
mtype = { used, without_key, refused, none };

/* type, argument (key, or epoch for data), answer, epoch of the record's keys, secret of the record's keys */
chan c2s = [QUEUE] of { mtype, byte, mtype, byte, byte };
chan s2c = [QUEUE] of { mtype, byte, mtype, byte, byte };

/* The client: epoch and secret of each direction. */
byte cWriteEpoch = 0; byte cWriteSecret = HANDSHAKE_SECRET;
byte cReadEpoch = 0; byte cReadSecret = HANDSHAKE_SECRET;
bool cOutstanding = false;
byte cRequestKey = NO_KEY;
bool cClosed = false;
bool cPeerClosed = false;
/* The server. */
byte sWriteEpoch = 0; byte sWriteSecret = HANDSHAKE_SECRET;
byte sReadEpoch = 0; byte sReadSecret = HANDSHAKE_SECRET;
bool sLooksUp = false;
bool sAwaitsFinish = false;
byte sNextSecret = HANDSHAKE_SECRET;
byte sRequestKey = NO_KEY;
bool sHasKey = false;
bool sWanted = false;
bool sClosed = false;
bool sPeerClosed = false;

/* A fatal alert or a lost transport: both ends stop. */
bool dead = false;
/* Whether each end ever closes. */
bool cWillClose = false;
bool sWillClose = false;
/* Keys: the drawer's (free, spent) and the answerer's. */
bool spent[KEYS];
bool held[KEYS];
bool differs[KEYS];
byte burnt[KEYS];
bool otherUse = false;
/* What is still to be sent, so that the search ends: one piece of data, at any time, stands for each. */
bit cData = 1;
bit sData = 1;
bit cUpdate = 1;
bit sUpdate = 1;
byte requests = 3;

inline clientSends(m, x, a) { assert(nfull(c2s) && !cClosed); c2s!m,x,a,cWriteEpoch,cWriteSecret }
inline serverSends(m, x, a) { assert(nfull(s2c) && !sClosed); s2c!m,x,a,sWriteEpoch,sWriteSecret }

inline sendRequest() {
  cOutstanding = true;
  requests--;
  if
  :: !spent[0] -> cRequestKey = 0
  :: !spent[1] -> cRequestKey = 1
  :: cRequestKey = NO_KEY
  fi;
  clientSends(request, cRequestKey, none)
}

active proctype Client() {
  byte x, epoch, secret, next;
  mtype a;
end:
  do
  /* Application data, in either half of the connection's life. */
  :: atomic { !dead && !cClosed && cData > 0 -> cData--; clientSends(data, 0, none) }
  /* Its own wish: time, bytes, or the key that was missing has come. */
  :: atomic { !dead && !cClosed && !cPeerClosed && (!cOutstanding || BREAK == 11) && requests > 0 && cWriteEpoch < MAX_EPOCH ->
       sendRequest()
     }
  :: atomic { !dead && !cClosed && (cPeerClosed || BREAK == 10) && cUpdate > 0 ->
       cUpdate--;
       clientSends(key_update, 0, none);
       cWriteSecret = cWriteSecret + UPDATED
     }
  :: atomic { !dead && cWillClose && !cClosed && (!cOutstanding || BREAK == 4) -> clientSends(close_notify, 0, none); cClosed = true }
  :: atomic { s2c?data,x,a,epoch,secret ->
       if :: !dead -> assert(epoch == cReadEpoch && secret == cReadSecret) :: else fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { s2c?rekey_wanted,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == cReadEpoch && secret == cReadSecret);
            if
            /* It crossed our request, or it is too late. */
            :: (cOutstanding && BREAK != 1) || cClosed || cPeerClosed || requests == 0 || cWriteEpoch == MAX_EPOCH
            :: else -> sendRequest()
            fi
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { s2c?response,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == cReadEpoch && secret == cReadSecret);
            assert(cOutstanding);
            if :: a == refused -> skip :: else -> assert((a == used) == (cRequestKey != NO_KEY)) fi;
            if :: cRequestKey != NO_KEY -> spent[cRequestKey] = true :: else fi;
            if
            :: a == refused -> cOutstanding = false
            :: else ->
                 if
                 :: cRequestKey == NO_KEY -> next = WITHOUT_KEY
                 :: else -> next = 100 + cRequestKey
                 fi;
                 if
                 /* The server's confirmation does not verify. */
                 :: x != next && BREAK != 3 -> dead = true
                 :: else ->
                      cReadEpoch++;
                      cReadSecret = next;
                      clientSends(finish, next, none);
                      cWriteEpoch++;
                      cWriteSecret = next;
                      cOutstanding = false
                 fi
            fi;
            cRequestKey = NO_KEY
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0; next = 0
     }
  :: atomic { s2c?key_update,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == cReadEpoch && secret == cReadSecret);
            assert(cClosed && !cOutstanding);
            cReadSecret = cReadSecret + UPDATED
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { s2c?close_notify,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == cReadEpoch && secret == cReadSecret);
            cPeerClosed = true;
            /* No answer will come: the epoch stays, and the key is not used again. */
            if
            :: cOutstanding ->
                 if :: cRequestKey != NO_KEY -> spent[cRequestKey] = true :: else fi;
                 if
                 :: BREAK == 7 ->
                      clientSends(finish, 0, none);
                      cWriteEpoch++
                 :: else
                 fi;
                 cOutstanding = false;
                 cRequestKey = NO_KEY
            :: else
            fi
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  od
}

/* The request is the key's single use, whatever comes of it; not there if another use was first. */
inline take(key) {
  if
  :: held[key] || BREAK == 5 -> held[key] = false; burnt[key]++; assert(burnt[key] == 1); sHasKey = true
  :: else
  fi
}

inline answerRequest() {
  if
  /* No such key here, or its binder does not verify: the epoch stays. */
  :: sRequestKey != NO_KEY && (!sHasKey || (differs[sRequestKey] && BREAK != 3)) ->
       serverSends(response, 0, refused);
       sRequestKey = NO_KEY
  /* Without a key: policy says no, or yes. */
  :: sRequestKey == NO_KEY -> serverSends(response, 0, refused)
  :: sRequestKey == NO_KEY || (sHasKey && (!differs[sRequestKey] || BREAK == 3)) ->
       if
       :: sRequestKey == NO_KEY -> sNextSecret = WITHOUT_KEY; serverSends(response, sNextSecret, without_key)
       :: else ->
            if :: differs[sRequestKey] -> sNextSecret = 200 + sRequestKey :: else -> sNextSecret = 100 + sRequestKey fi;
            serverSends(response, sNextSecret, used);
            /* Nothing else can use what protects the data from here on. */
            assert(!held[sRequestKey])
       fi;
       sAwaitsFinish = true;
       sWanted = false;
       if :: BREAK != 2 -> sWriteEpoch++; sWriteSecret = sNextSecret :: else fi
  fi;
  sHasKey = false;
  sLooksUp = false
}

active proctype Server() {
  byte x, epoch, secret;
  mtype a;
end:
  do
  :: atomic { !dead && !sClosed && sData > 0 -> sData--; serverSends(data, 0, none) }
  /* Once per epoch. */
  :: atomic { !dead && !sClosed && !sPeerClosed && !sWanted && !sLooksUp && !sAwaitsFinish && sWriteEpoch < MAX_EPOCH ->
       sWanted = true;
       serverSends(rekey_wanted, 0, none)
     }
  /* The key was found, or was not. */
  :: atomic { !dead && sLooksUp -> answerRequest() }
  :: atomic { !dead && sWillClose && !sClosed ->
       serverSends(close_notify, 0, none);
       sClosed = true;
       if
       :: sLooksUp && BREAK != 9 -> sLooksUp = false; sHasKey = false; sRequestKey = NO_KEY
       :: else
       fi
     }
  :: atomic { !dead && !sClosed && (sPeerClosed || BREAK == 10) && sUpdate > 0 ->
       sUpdate--;
       serverSends(key_update, 0, none);
       sWriteSecret = sWriteSecret + UPDATED
     }
  :: atomic { c2s?data,x,a,epoch,secret ->
       if :: !dead -> assert(epoch == sReadEpoch && secret == sReadSecret) :: else fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { c2s?request,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == sReadEpoch && secret == sReadSecret);
            assert(!sLooksUp && !sAwaitsFinish && !sPeerClosed);
            if
            /* Our close_notify crossed it: there is no rekey any more. */
            :: sClosed && BREAK != 6
            :: else ->
                 if
                 :: x == NO_KEY
                 :: x != NO_KEY && BREAK == 8 -> sHasKey = held[x]
                 :: x != NO_KEY && BREAK != 8 -> take(x)
                 fi;
                 sRequestKey = x;
                 sLooksUp = true
            fi
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { c2s?finish,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == sReadEpoch && secret == sReadSecret);
            assert(sAwaitsFinish && !sPeerClosed);
            if
            :: x != sNextSecret && BREAK != 3 -> dead = true
            :: else ->
                 sReadEpoch++;
                 sReadSecret = sNextSecret;
                 if :: BREAK == 2 -> sWriteEpoch++; sWriteSecret = sNextSecret :: else fi;
                 sAwaitsFinish = false;
                 sRequestKey = NO_KEY;
                 assert(sReadEpoch == sWriteEpoch && sReadSecret == sWriteSecret)
            fi
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { c2s?key_update,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == sReadEpoch && secret == sReadSecret);
            assert(sClosed && !sLooksUp && !sAwaitsFinish);
            sReadSecret = sReadSecret + UPDATED
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  :: atomic { c2s?close_notify,x,a,epoch,secret ->
       if
       :: !dead ->
            assert(epoch == sReadEpoch && secret == sReadSecret);
            assert(!sLooksUp && !sAwaitsFinish);
            sPeerClosed = true
       :: else
       fi;
       x = 0; a = 0; epoch = 0; secret = 0
     }
  od
}

/* The keys' other lives: KMEs that differ, the answerer's TTL, another connection, a transport that breaks. */
active proctype World() {
  byte k;
  atomic {
    for (k : 0 .. KEYS - 1) {
      if :: held[k] = true :: held[k] = false fi;
      if :: differs[k] = true :: differs[k] = false fi
    }
    if :: cWillClose = true :: true fi;
    if :: sWillClose = true :: true fi;
    k = 0
  }
end:
  do
  :: atomic { held[0] -> held[0] = false } /* too old */
  /* An application handshake with a copied reference of the first key. */
  :: atomic { held[0] && !otherUse -> otherUse = true; held[0] = false; burnt[0]++; assert(burnt[0] == 1) }
  :: dead = true; break
  :: break
  od
}

/* When nothing can happen any more: every message was heard, and the ends agree. */
active proctype Quiet() {
end:
  atomic { timeout ->
    assert(empty(c2s) && empty(s2c));
    assert(dead || (cWriteEpoch == sReadEpoch && sWriteEpoch == cReadEpoch));
    assert(dead || (!cOutstanding && !sLooksUp && !sAwaitsFinish))
  }
}
