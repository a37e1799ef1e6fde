/*
 * The handshake with a QKD key: offered or not and why, used, unavailable or
 * refused by policy, with extension 33, with one HelloRetryRequest, a binder
 * that fails, a transport that breaks, fallback, and one retry with another
 * key. Policies on both ends. Either a peer is at fault in one way, or a
 * stranger copies a reference.
 *
 * Claims: no end sends or takes application data before its policy and its
 * demand for a certificate are met; both ends name the same mode; a failed
 * binder ends the handshake and burns nothing; a key is burnt at most once, and
 * only by a Finished that was sent for it; nobody waits for ever.
 *
 * -DBREAK=n leaves out one rule, and pan must find an error:
 *   1 the client falls back against its policy   2 the server does
 *   3 a failed binder leads to a fallback        4 burning is no compare-and-set
 *   5 the key is burnt before Finished           6 the client takes a PSK without extension 33
 *   7 the server uses a PSK without extension 33 where it wants a client certificate
 *   8 the second ClientHello may offer another key
 *   9 the client believes `used` where no PSK was selected
 *  10 a second HelloRetryRequest is answered
 */
#ifndef BREAK
#define BREAK 0
#endif

#define KEYS 2
#define CONNECTIONS 3
#define NO_KEY 255
/* require */
#define ANY 0
#define QKD_ONLY 1
/* mode at an end of a connection */
#define HANDSHAKING 0
#define MODE_PQC 1
#define MODE_QKD 2
#define REFUSED 3

mtype = { client_hello, hello_retry, flight, finished, data, alert };
mtype = { used, unavailable, policy, not_offered };
mtype = { no_fault, server_lies, server_omits_33, client_omits_33, greedy_drawer, stranger, keys_differ, retries_twice, other_key };

/* ClientHello: key, binder good, extension 33. */
chan c2s[CONNECTIONS] = [3] of { mtype, byte, bool, bool };
/* Flight (ServerHello to Finished): result; PSK selected; certificate. */
chan s2c[CONNECTIONS] = [3] of { mtype, mtype, bool, bool };

mtype fault = no_fault;
bit clientPolicy = ANY;
bit serverPolicy = ANY;
bool wantsClientCertificate = false;
bool hrr = false;

bool ready = false;

/* The drawer's and the answerer's keys. */
bool spent[KEYS];
bool held[KEYS];
byte burnt[KEYS];
byte finishedFor[KEYS];

byte cMode[CONNECTIONS];
byte sMode[CONNECTIONS];
bool lost[CONNECTIONS];
bool over[CONNECTIONS];

inline toServer(i, m, k, binder, ext) { if :: !lost[i] -> c2s[i]!m,k,binder,ext :: else fi }
inline toClient(i, m, r, psk, cert) { if :: !lost[i] -> s2c[i]!m,r,psk,cert :: else fi }

/*
 * One connection attempt. `key` NO_KEY: offered none. Afterwards cMode[i] says
 * how it ended, and `again` whether another key is worth a try.
 */
inline attempt(i, key, knowsKey, again) {
  again = false;
  retried = false;
  offered = key;
  toServer(i, client_hello, key, knowsKey, fault != client_omits_33);
  do
  :: atomic { s2c[i]?hello_retry,result,psk,cert ->
       if
       :: retried && BREAK != 10 -> toServer(i, alert, NO_KEY, false, false); cMode[i] = REFUSED; break
       :: else ->
            assert(!retried);
            retried = true;
            if
            :: fault == other_key && key == 0 -> offered = 1
            :: else
            fi;
            toServer(i, client_hello, offered, knowsKey, fault != client_omits_33)
       fi
     }
  :: atomic { s2c[i]?alert,_,_,_ -> cMode[i] = REFUSED; break }
  :: atomic { s2c[i]?flight,result,psk,cert ->
       if
       /* illegal_parameter */
       :: (psk != (result == used) && BREAK != 9) || ((result == not_offered) != (key == NO_KEY)) ->
            toServer(i, alert, NO_KEY, false, false); cMode[i] = REFUSED
       /* handshake_failure: a PSK never weakens authentication */
       :: else ->
            if
            :: !cert && BREAK != 6 -> toServer(i, alert, NO_KEY, false, false); cMode[i] = REFUSED
            /* The PSK is in the key schedule of one end only, or differs: Finished does not verify. */
            :: (cert || BREAK == 6) && psk && !(knowsKey) -> toServer(i, alert, NO_KEY, false, false); cMode[i] = REFUSED
            /* insufficient_security, before application data; one retry */
            :: (cert || BREAK == 6) && !(psk && !(knowsKey)) && result != used && clientPolicy == QKD_ONLY && BREAK != 1 ->
                 toServer(i, alert, NO_KEY, false, false); cMode[i] = REFUSED; again = (result == unavailable)
            :: else ->
                 if
                 :: result == used -> cMode[i] = MODE_QKD; spent[offered] = true; finishedFor[offered]++
                 :: else -> cMode[i] = MODE_PQC
                 fi;
                 assert(clientPolicy == ANY || cMode[i] == MODE_QKD);
                 assert(cMode[i] != MODE_QKD || psk);
                 assert(cert);
                 toServer(i, finished, NO_KEY, false, (fault != stranger || i != 2));
                 toServer(i, data, NO_KEY, false, false)
            fi
       fi;
       break
     }
  :: atomic { lost[i] && empty(s2c[i]) -> cMode[i] = REFUSED; again = true; break }
  od;
  result = 0; psk = false; cert = false
}

/* The drawer's application: a first try and one retry. A reference that was not finished may be offered again. */
active proctype Client() {
  byte key = NO_KEY, offered = NO_KEY;
  bool psk, cert, again, retried;
  mtype result;
  ready;
  if
  :: key = 0
  :: key = NO_KEY /* with its reason */
  fi;
  if
  :: key == NO_KEY && clientPolicy == QKD_ONLY -> cMode[0] = REFUSED; over[0] = true; again = true
  :: else -> attempt(0, key, fault != keys_differ || key != 0, again)
  fi;
  if
  :: again ->
       if
       :: key == NO_KEY || !held[0] || spent[0] || fault == keys_differ -> key = 1
       :: else
       fi;
       attempt(1, key, fault != keys_differ || key != 0, again)
  :: else -> cMode[1] = REFUSED; over[1] = true
  fi;
  key = 0; offered = 0; again = false; retried = false
}

/* Someone with a copied reference and no key, or a drawer that offers one key on two connections. */
active proctype OtherClient() {
  byte offered;
  bool psk, cert, again, retried;
  mtype result;
  ready;
  if
  :: fault == stranger || fault == greedy_drawer -> attempt(2, 0, fault == greedy_drawer, again)
  :: else -> cMode[2] = REFUSED; over[2] = true
  fi;
  offered = 0; again = false; retried = false
}

active [CONNECTIONS] proctype Server() {
  byte i = _pid - 2, key = NO_KEY, second;
  bool binder, ext, bound = false, asked = false, psk = false, certificate = false;
  mtype result;
  if
  :: atomic { c2s[i]?client_hello,key,binder,ext -> skip }
  :: atomic { (lost[i] || over[i]) && empty(c2s[i]) -> goto done }
  fi;
retry:
  if
  :: atomic { (hrr && !asked) || (fault == retries_twice && i == 0) ->
       asked = true;
       toClient(i, hello_retry, 0, false, false)
     };
     if
     :: atomic { c2s[i]?client_hello,second,binder,ext ->
          if
          :: second != key && BREAK != 8 -> toClient(i, alert, 0, false, false); goto refused /* illegal_parameter */
          :: else -> assert(second == key); goto retry
          fi
        }
     :: atomic { c2s[i]?alert,_,_,_ -> goto refused }
     :: atomic { lost[i] && empty(c2s[i]) -> goto refused }
     fi
  :: else
  fi;
  /* Policy, then the look-up, then the binder: nothing here burns a key. */
  atomic {
    if
    :: key == NO_KEY -> result = not_offered
    :: key != NO_KEY && !ext && wantsClientCertificate && BREAK != 7 -> result = policy
    :: else ->
         if
         :: !held[key] -> result = unavailable
         :: else ->
              if
              :: !binder ->
                   if
                   :: BREAK == 3 -> result = unavailable; bound = true
                   :: else -> toClient(i, alert, 0, false, false); goto refused
                   fi
              :: else ->
                   result = used;
                   psk = true;
                   if :: BREAK == 5 -> held[key] = false; burnt[key]++; assert(finishedFor[key] > 0) :: else fi
              fi
         fi
    fi;
    /* A server at fault. */
    if
    :: fault == server_lies && i == 0 && result == unavailable -> toClient(i, flight, used, false, true)
    :: else -> toClient(i, flight, result, psk, (!psk || ext) && !(fault == server_omits_33 && psk))
    fi;
    /* insufficient_security, under encryption */
    if
    :: serverPolicy == QKD_ONLY && result != used && BREAK != 2 -> toClient(i, alert, 0, false, false); goto refused
    :: else
    fi
  };
  if
  :: atomic { c2s[i]?finished,second,binder,certificate ->
       if
       /* certificate_required */
       :: wantsClientCertificate && BREAK != 7 && (!certificate || (psk && !ext)) -> toClient(i, alert, 0, false, false); goto refused
       :: else
       fi;
       if
       :: psk && BREAK != 5 ->
            if
            :: held[key] || BREAK == 4 ->
                 held[key] = false;
                 burnt[key]++;
                 assert(burnt[key] == 1);
                 assert(finishedFor[key] > 0)
            :: else -> toClient(i, alert, 0, false, false); goto refused
            fi
       :: else
       fi;
       if :: psk -> sMode[i] = MODE_QKD :: else -> sMode[i] = MODE_PQC fi;
       assert(serverPolicy == ANY || sMode[i] == MODE_QKD);
       assert(!wantsClientCertificate || (certificate && (!psk || ext)));
       assert(!bound);
       assert(fault == server_lies || cMode[i] == sMode[i])
     }
  :: atomic { c2s[i]?alert,_,_,_ -> goto refused }
  :: atomic { lost[i] && empty(c2s[i]) -> goto refused }
  fi;
  if
  :: atomic { c2s[i]?data,_,_,_ -> assert(sMode[i] == MODE_QKD || sMode[i] == MODE_PQC) }
  :: atomic { lost[i] && empty(c2s[i]) -> skip }
  fi;
  goto done;
refused:
  atomic {
    sMode[i] = REFUSED;
    do :: c2s[i]?_,_,_,_ :: empty(c2s[i]) -> break od;
    over[i] = true
  };
done:
  skip
}

active proctype World() {
  byte k;
  atomic {
    if
    :: fault = no_fault
    :: fault = server_lies
    :: fault = server_omits_33
    :: fault = client_omits_33
    :: fault = greedy_drawer
    :: fault = stranger
    :: fault = keys_differ
    :: fault = retries_twice
    :: fault = other_key
    fi;
    if :: clientPolicy = ANY :: clientPolicy = QKD_ONLY fi;
    if :: serverPolicy = ANY :: serverPolicy = QKD_ONLY fi;
    if :: wantsClientCertificate = true :: true fi;
    if :: hrr = true :: true fi;
    for (k : 0 .. KEYS - 1) { if :: held[k] = true :: true fi }
    k = 0;
    ready = true
  }
  /* A key that the answerer loses meanwhile, and a transport that breaks. */
  if :: atomic { held[0] -> held[0] = false } :: true fi;
  if
  :: atomic { lost[0] = true }
  :: atomic { lost[1] = true }
  :: true
  fi
}

/* When nothing can happen any more, each attempt has ended at the client; ends that both completed agree. */
active proctype Quiet() {
  byte i;
end:
  atomic { timeout ->
    for (i : 0 .. CONNECTIONS - 1) {
      assert(cMode[i] != HANDSHAKING);
      assert(sMode[i] != MODE_QKD || cMode[i] == MODE_QKD || lost[i]);
      assert(sMode[i] != MODE_PQC || cMode[i] == MODE_PQC || lost[i])
    }
  }
}
