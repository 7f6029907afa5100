"""``scipy.special``, on traced values too: what the table of primitives has, and what is written in terms
of it.

>>> expit(0.0)
np.float64(0.5)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.dispatch import traceable


def _special(name: str) -> Callable[..., Any]:
    def concrete(*args: Any, **kwargs: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*args, **kwargs)

    concrete.__name__ = concrete.__qualname__ = name
    concrete.__doc__ = f"As ``scipy.special.{name}``."
    return traceable(name, concrete)


beta = _special("beta")
betaln = _special("betaln")
digamma = _special("digamma")
entr = _special("entr")
erf = _special("erf")
erfc = _special("erfc")
erfcx = _special("erfcx")
erfinv = _special("erfinv")
expit = _special("expit")
gamma = _special("gamma")
gammaln = _special("gammaln")
kl_div = _special("kl_div")
log_expit = _special("log_expit")
log_ndtr = _special("log_ndtr")
log_softmax = _special("log_softmax")
logit = _special("logit")
logsumexp = _special("logsumexp")
ndtr = _special("ndtr")
ndtri = _special("ndtri")
polygamma = _special("polygamma")
psi = _special("psi")
rel_entr = _special("rel_entr")
softmax = _special("softmax")
xlog1py = _special("xlog1py")
xlogy = _special("xlogy")
