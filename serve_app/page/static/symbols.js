// The names of TeX's mathematics: which command is which character. Tables only; `tex.js` reads them.

const table = (words) =>
  Object.fromEntries(
    words
      .trim()
      .split(/\s+/)
      .map((word) => word.split("=")),
  );
const names = (words) => new Set(words.trim().split(/\s+/));

/** Commands that stand for a letter or another ordinary symbol. */
export const SYMBOLS = table(`
  alpha=α beta=β gamma=γ delta=δ epsilon=ϵ varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι kappa=κ lambda=λ mu=μ
  nu=ν xi=ξ omicron=ο pi=π varpi=ϖ rho=ρ varrho=ϱ sigma=σ varsigma=ς tau=τ upsilon=υ phi=ϕ varphi=φ chi=χ psi=ψ omega=ω
  Gamma=Γ Delta=Δ Theta=Θ Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω
  infty=∞ ell=ℓ hbar=ℏ Re=ℜ Im=ℑ aleph=ℵ emptyset=∅ varnothing=∅ partial=∂ nabla=∇ angle=∠ measuredangle=∡ triangle=△
  square=□ Box=□ blacksquare=■ degree=° circ=∘ prime=′ top=⊤ bot=⊥ dag=† checkmark=✓ clubsuit=♣ diamondsuit=♢
  heartsuit=♡ spadesuit=♠ imath=ı jmath=ȷ $=$ %=% #=# &=& _=_`);

/** Commands that stand for an operator, a relation, an arrow, dots or a delimiter. */
export const OPERATORS = table(`
  cdot=⋅ times=× div=÷ pm=± mp=∓ ast=∗ star=⋆ bullet=∙ oplus=⊕ ominus=⊖ otimes=⊗ odot=⊙ cap=∩ cup=∪ setminus=∖ wedge=∧
  land=∧ vee=∨ lor=∨ neg=¬ lnot=¬ le=≤ leq=≤ leqslant=⩽ ge=≥ geq=≥ geqslant=⩾ ne=≠ neq=≠ lt=< gt=> ll=≪ gg=≫ approx=≈ equiv=≡
  sim=∼ simeq=≃ cong=≅ propto=∝ in=∈ notin=∉ ni=∋ subset=⊂ subseteq=⊆ subsetneq=⊊ supset=⊃ supseteq=⊇ parallel=∥
  perp=⊥ mid=∣ nmid=∤ forall=∀ exists=∃ to=→ rightarrow=→ leftarrow=← longrightarrow=⟶ mapsto=↦ leftrightarrow=↔
  Rightarrow=⇒ Leftarrow=⇐ Leftrightarrow=⇔ Longrightarrow=⟹ implies=⟹ iff=⟺ uparrow=↑ downarrow=↓ therefore=∴ because=∵
  ldots=… dots=… cdots=⋯ dotsb=⋯ dotsm=⋯ diamond=⋄ dotsc=… vdots=⋮ ddots=⋱ colon=: sum=∑ prod=∏ coprod=∐ int=∫ iint=∬ iiint=∭ oint=∮
  bigcup=⋃ bigcap=⋂ bigoplus=⨁ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ langle=⟨ rangle=⟩ lvert=| rvert=| vert=| lVert=‖
  rVert=‖ Vert=‖ |=‖ {={ }=} lbrace={ rbrace=} lbrack=[ rbrack=] backslash=∖ not≠`);

/** Functions, set upright. */
export const FUNCTIONS = names(`
  sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp lim limsup liminf max min sup inf gcd lcm det
  dim ker arg deg hom Pr mod`);

/** Texts of what carries its scripts above and below it. */
export const LIMITS = names("∑ ∏ ∐ ⋃ ⋂ ⨁ lim limsup liminf max min sup inf gcd Pr");

/** Marks over their argument. */
export const ACCENTS = table(`
  overline=‾ bar=‾ hat=^ widehat=^ vec=→ overrightarrow=→ overleftarrow=← tilde=~ widetilde=~ dot=˙ ddot=¨ overbrace=⏞
  overarc=⌒ wideparen=⌒`);

/** Commands whose argument is words. */
export const TEXTS = names("text textbf textit textrm textsf texttt textnormal mbox hbox emph");

/** Commands that set their argument's letters in another style. */
export const STYLES = table(`
  mathrm=normal mathbf=bold boldsymbol=bold bm=bold bold=bold mathit=italic mathsf=normal mathtt=normal mathbb=double mathcal=script
  mathscr=script mathfrak=normal`);

/** Widths in em. */
export const SPACES = {
  quad: 1,
  qquad: 2,
  ",": 0.17,
  ":": 0.22,
  ";": 0.28,
  " ": 0.33,
  "!": -0.17,
  thinspace: 0.17,
  "\n": 0.33,
};

/** Commands that change nothing here. */
export const NOTHING = names(`
  displaystyle textstyle scriptstyle limits nolimits nonumber notag hline centering middle relax`);

/** Sizes of the delimiter that follows. */
export const BIG = names("big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm");

const matrix = (open, close, align = "center") => ({ open, close, align, takesColumns: false });
export const ENVIRONMENTS = {
  matrix: matrix("", ""),
  smallmatrix: matrix("", ""),
  pmatrix: matrix("(", ")"),
  bmatrix: matrix("[", "]"),
  Bmatrix: matrix("{", "}"),
  vmatrix: matrix("|", "|"),
  Vmatrix: matrix("‖", "‖"),
  cases: matrix("{", "", "left"),
  aligned: matrix("", "", "equations"),
  "align*": matrix("", "", "equations"),
  align: matrix("", "", "equations"),
  split: matrix("", "", "equations"),
  gathered: matrix("", ""),
  array: { open: "", close: "", align: "center", takesColumns: true },
};
