"""Names as people write them: Greek letters, subscripts, dots; from the program's ASCII names.

>>> unicode_name("mu_1"), unicode_name("Gamma0"), unicode_name("signal"), latex_name("sigma_x")
('μ₁', 'Γ₀', 'signal', '\\\\sigma_{x}')
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SMALL: Final = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "lamda": "λ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip
_LARGE: Final = {
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω",
}  # fmt: skip
GREEK: Final = _SMALL | _LARGE
_LATEX: Final = {"lam": r"\lambda", "lamda": r"\lambda"}

_SUBSCRIPTS: Final = dict(
    zip("0123456789+-−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True)
)
SMALL: Final = "".join(_SUBSCRIPTS.values())
_SUPERSCRIPTS: Final = dict(zip("0123456789+-−ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿⁱ", strict=True))


def subscript(text: str) -> str:
    """``text`` as a subscript: in small characters where all of them exist, else ``_{text}``."""
    if not text:
        return ""
    if all(c in _SUBSCRIPTS for c in text):
        return "".join(_SUBSCRIPTS[c] for c in text)
    return f"_{text}" if len(text) == 1 else f"_{{{text}}}"


def superscript(text: str) -> str | None:
    """``text`` in small raised characters, None where one of them does not exist."""
    return "".join(_SUPERSCRIPTS[c] for c in text) if all(c in _SUPERSCRIPTS for c in text) else None


def parts(name: str) -> tuple[str, tuple[str, ...]]:
    """A name's stem and its subscripts: ``mu_1`` → (mu, (1,)), ``m12`` → (m, (12,)), ``lambda_`` → (lambda, ())."""
    pieces = [p for p in name.split("_") if p]
    if not pieces:
        return name, ()
    stem, below = pieces[0], pieces[1:]
    found = re.fullmatch(r"([A-Za-z]+?)(\d+)", stem)
    if found and (found[1] in GREEK or len(found[1]) == 1):
        stem, below = found[1], [found[2], *below]
    if not (len(stem) == 1 or stem in GREEK) and any(len(b) > 1 and not b.isdigit() for b in below):
        return name, ()  # words with underscores, as total_mass
    return stem, tuple(below)


def unicode_name(name: str) -> str:
    """The name with Greek letters and subscripts."""
    stem, below = parts(name)
    shown = GREEK.get(stem, stem)
    return shown + subscript(",".join(GREEK.get(b, b) for b in below))


def dotted(name: str) -> str:
    """The name with a dot above its first letter: ẋ₁."""
    return unicodedata.normalize("NFC", name[0] + "\u0307" + name[1:])


def latex_stem(stem: str) -> str:
    if stem in GREEK:
        return _LATEX.get(stem, "\\" + stem)
    if len(stem) == 1:
        return stem
    return r"\mathrm{" + stem.replace("_", r"\_") + "}"


def latex_name(name: str) -> str:
    """The name in LaTeX."""
    stem, below = parts(name)
    if not below:
        return latex_stem(stem)
    return latex_stem(stem) + "_{" + ",".join(latex_stem(b) if not b.isdigit() else b for b in below) + "}"
