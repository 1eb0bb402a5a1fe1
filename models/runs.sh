#!/bin/sh
# The runs behind the choices, each trained, exported and measured anew: a row of Markdown for each. What is there already is
# measured again but not trained again.
#
#   models/runs.sh tinyshakespeare.txt [part of a name] > runs.md
#
# The whole table takes hours: name a part of it. Losses are of the model file on the integer runtime over the last tenth of the
# text as one stream, which no training, teacher or choice of weights saw; bytes are the whole file.
set -eu
cd "$(dirname "$0")/.."
corpus=$1 wanted=${2:-}
runs=target/runs/$(basename "$corpus" .txt)
trainer=target/release/trainer
cargo build --quiet --release
mkdir -p "$runs"
json() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" | head -n 1; }

# row NAME OPTIONS...: of `trainer train`.
row() {
    name=$1
    shift
    case $name in *"$wanted"*) ;; *) return 0 ;; esac
    folder=$runs/$name
    if [ ! -e "$folder/model.onnx" ] || [ ! -e "$folder/metrics.json" ]; then
        case "$*" in *distillation.bin*) soft_targets ;; esac
        "$trainer" train "$corpus" --out "$folder" --split 90/10/0 --patience 0 --overwrite --quiet "$@" >&2
    fi
    "$trainer" export "$folder/model.onnx" > /dev/null
    nats=$("$trainer" eval "$folder/model.pip" --data "$corpus" --split dev --json | json nats_per_char)
    seconds=$(json seconds < "$folder/metrics.json")
    bytes=$(wc -c < "$folder/model.pip")
    printf '| %s | `%s` | %s | %.4f | %s |\n' "$name" "$(echo "$*" | sed "s,$runs/,,g")" "$bytes" "$nats" "${seconds%.*}"
}

# The soft targets of the two teachers.
soft_targets() {
    [ -e "$runs/distillation.bin" ] && return 0
    (wanted='' && row teacher-384 $TEACHER_384 && row teacher-416 $TEACHER_416) >&2
    "$trainer" distill "$corpus" --split 90/10/0 --teacher "$runs/teacher-384/model.onnx" --teacher "$runs/teacher-416/model.onnx" \
        --synthetic-tokens 2500000 --out "$runs/distillation.bin" >&2
}

LARGE="--layers 2 --dropout 0.4 --batch-size 64 --seq-len 64 --weight-decay 0.1 --learning-rate 0.004"
TEACHER_384="--hidden-size 384 $LARGE --steps 4500 --seed 3"
TEACHER_416="--hidden-size 416 $LARGE --steps 4200 --seed 5"
SMALL="--embedding-dim 16 --steps-per-token 2 --dropout 0.05 --weight-decay 0.08 --learning-rate 0.006 --ema-decay 0.998 --seed 2"
DISTILLED="--distillation $runs/distillation.bin"
ROUNDED="--weight-bits 4 --output-weight-bits 4"
MIXED="$ROUNDED --input-weight-bits 8"

# Other texts: at each size a network of 8 bits, one step and a table, and one of 4 bits, two steps and a small embedding.
NEW="--embedding-dim 16 --steps-per-token 2 $MIXED"
case $(basename "$corpus") in
names.txt) sizes="124 172 268 372" same="--steps 4000 --dropout 0.3" ;;
ag_news.txt) sizes="96 160 236 364" same="--steps 8000" ;;
*) sizes='' ;;
esac
if [ "$sizes" ]; then
    set -- $sizes
    row 64k-8-bits --hidden-size "$1" $same
    row 64k --hidden-size "$2" $same $NEW
    row 256k-8-bits --hidden-size "$3" $same
    row 256k --hidden-size "$4" $same $NEW
    exit
fi

# The rate of the rounded steps, tried on a slice of the first 90 %: its own last tenth.
slice=$runs/first-90.txt
head -c $(($(wc -c < "$corpus") * 9 / 10)) "$corpus" > "$slice"
slice() (corpus=$slice && row "$@")
slice slice-float --hidden-size 164 $SMALL --steps 7000
for rate in 0.0003 0.001 0.002; do
    slice "slice-$rate" --init-from "$runs/slice-float/model.onnx" --weight-decay 0.08 --dropout 0.05 --steps 3500 --qat-steps 3500 \
        --qat-lr "$rate" --qat-ema-decay 0.997 $MIXED --seed 2
done

# As it was: weights of 8 bits, one step, a table of tokens.
row int8-128 --hidden-size 128
row int8-256 --hidden-size 256
# Two layers for each of the teachers.
row teacher-384 $TEACHER_384
row teacher-416 $TEACHER_416
# Two steps and a small embedding, with what the teachers say; then every weight of 4 bits; then the input's of 8.
row small-float --hidden-size 168 $SMALL --steps 11000 $DISTILLED
row small-4 --hidden-size 168 $SMALL --steps 14000 --qat-steps 3000 $ROUNDED $DISTILLED
row mixed-float --hidden-size 164 $SMALL --steps 12000 $DISTILLED
row mixed --init-from "$runs/mixed-float/model.onnx" --weight-decay 0.08 --dropout 0 --steps 3500 --qat-steps 3500 \
    --qat-ema-decay 0.997 $MIXED --seed 2 $DISTILLED
# More steps; then the rate that was best on the slice, and the one of before.
row shakespeare-64k-float --hidden-size 164 $SMALL --steps 26000 $DISTILLED
row rate-0.002 --init-from "$runs/shakespeare-64k-float/model.onnx" --weight-decay 0.08 --dropout 0.05 --steps 8000 --qat-steps 8000 \
    --qat-lr 0.002 --qat-ema-decay 0.998 $MIXED --seed 2 $DISTILLED
row shakespeare-64k --init-from "$runs/shakespeare-64k-float/model.onnx" --weight-decay 0.08 --dropout 0 --steps 3500 --qat-steps 3500 \
    --qat-ema-decay 0.997 $MIXED --seed 2 $DISTILLED
# At 364 units, with few steps and with more.
taught_256k() {
    row "$1-float" --hidden-size 364 --embedding-dim 16 --steps-per-token 2 --dropout 0.2 --weight-decay 0.06 --learning-rate 0.005 \
        --batch-size 64 --seq-len 64 --steps "$2" --ema-decay 0.998 --distill-weight 0.75 --synthetic-fraction 0.2 --seed 2 $DISTILLED
    row "$1" --init-from "$runs/$1-float/model.onnx" --weight-decay 0.1 --dropout 0.15 --batch-size 64 --seq-len 64 \
        --steps 1300 --qat-steps 1300 --qat-lr 0.0005 --qat-ema-decay 0.996 $MIXED --distill-weight 0.75 --synthetic-fraction 0.2 \
        --seed 2 $DISTILLED
}
taught_256k early-256k 3800
taught_256k shakespeare-256k 8000
# 256 KB without teachers, in one training: characters and subwords; words, whose embedding the output shares, through a factor and
# as it is.
row plain-256k --hidden-size 364 --dropout 0.3 --batch-size 64 --seed 2 $NEW
row subword-512 --tokenizer subword --vocab-size 512 --hidden-size 280 --tie-embeddings false --steps 6000 --seed 2 --embedding-dim 32 --steps-per-token 2 $MIXED
WORDS="--tokenizer word --steps 3000 --seed 2"
row word-4000 $WORDS --vocab-size 4000 --hidden-size 160 --embedding-dim 48 --weight-bits 4 --input-weight-bits 8
row word-4000-tied $WORDS --vocab-size 4000 --hidden-size 68
row word-6000 $WORDS --vocab-size 6000 --hidden-size 192 --embedding-dim 64 --dropout 0.4 --steps-per-token 2 --weight-bits 4 --input-weight-bits 8
# A teacher itself, rounded: as it is, and after more steps.
rounded_teacher() {
    row "$1" --init-from "$runs/$2/model.onnx" --dropout 0.3 --batch-size 64 --weight-decay 0.1 --steps 240 \
        --qat-steps 240 --qat-lr 0.0005 --qat-ema-decay 0.98 --weight-bits 4 --distill-weight 0.8 --synthetic-fraction 0.3 --seed 2 $DISTILLED
}
rounded_teacher large teacher-416
row longer-float --init-from "$runs/teacher-416/model.onnx" --dropout 0.3 --batch-size 64 --seq-len 64 --weight-decay 0.1 \
    --learning-rate 0.002 --steps 1500 --ema-decay 0.998 --distill-weight 0.8 --synthetic-fraction 0.3 --seed 2 $DISTILLED
rounded_teacher longer longer-float
