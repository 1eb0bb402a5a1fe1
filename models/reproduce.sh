#!/bin/sh
# Trains the rows of models/RESULTS.md and writes that file.
#
#   models/reproduce.sh DATA [PART OF A ROW'S NAME]
#
# DATA is a folder with tinyshakespeare.txt, ag_news.txt, names.txt and ag_news_classes.tsv; a row whose file is missing is left
# out. A row is trained with seeds 1, 2 and 3 by 80/10/10: training sees train, the best step is chosen on dev, test is read once, by
# `eval --split test` of the quantized model. Results are kept in target/results: what is there is not trained again, and every
# row that is there is in the file.
set -eu
cd "$(dirname "$0")/.."
data=$1 wanted=${2:-}
results=target/results
trainer=target/release/trainer
cargo build --quiet --release
mkdir -p "$results"

# The value of a number in JSON.
json() { sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][0-9.e-]*\).*/\1/p" | head -n 1; }

# train NAME FILE SEED OPTIONS...: one training, and what is measured on it.
train() {
    name=$1 file=$2 seed=$3
    shift 3
    out=$results/$name/$seed
    [ ! -e "$out/test.json" ] || return 0
    "$trainer" train "$file" --out "$out" --seed "$seed" --overwrite --quiet "$@" > "$results/$name/$seed.log"
    "$trainer" export "$out/model.onnx" --quiet > /dev/null
    set -- "$out/model.pip" --data "$file" --json
    case $name in
    news-classes | names-features) set -- "$@" --config "$out/config.toml" ;;
    *) set -- "$@" --skip-unknown ;;
    esac
    "$trainer" eval "$@" --split dev > "$out/dev.json"
    "$trainer" eval "$@" --split test > "$out/test.json.new"
    # The best n-gram model on test, of a text.
    case $name in
    news-classes | names-features) : > "$out/ngram.json" ;;
    *) ngram "$file" "$out" ;;
    esac
    mv "$out/test.json.new" "$out/test.json"
}

# ngram FILE FOLDER: n-gram models counted on train and measured on test, which dev is not between. The texts are ASCII.
ngram() {
    train=$(json train < "$2/metrics.json") test=$(json test < "$2/metrics.json")
    { head -c "$train" "$1"; tail -c "$test" "$1"; } > "$2/train-test.txt"
    last=$(awk "BEGIN { print $test / ($train + $test) }")
    "$trainer" ngram --data "$2/train-test.txt" --last "$last" --json > "$2/ngram.json"
}

# row NAME FILE OPTIONS...: three seeds.
row() {
    name=$1 file=$2
    shift 2
    case $name in *"$wanted"*) ;; *) return 0 ;; esac
    [ -e "$file" ] || return 0
    mkdir -p "$results/$name"
    echo "$(basename "$file") | $*" > "$results/$name/options"
    for seed in 1 2 3; do
        echo "$name, seed $seed" >&2
        train "$name" "$file" "$seed" "$@"
    done
}

# excerpt FILE BYTES: the first bytes of a text.
excerpt() {
    out=$results/$(basename "$1" .txt)-$2.txt
    [ ! -e "$1" ] || head -c "$2" "$1" > "$out"
    echo "$out"
}

# Names are sorted in their file, which is no sample: in the order of a hash they are.
names=$results/names-shuffled.txt
if [ -e "$data/names.txt" ]; then
    awk '{ h = 7; for (i = 1; i <= length($0); i++) h = (h * 131 + index("abcdefghijklmnopqrstuvwxyz-. ", tolower(substr($0, i, 1)))) % 999983; printf "%06d\t%s\n", h, $0 }' \
        "$data/names.txt" | LC_ALL=C sort | cut -f 2- > "$names"
fi

row shakespeare "$data/tinyshakespeare.txt"
row shakespeare-256 "$data/tinyshakespeare.txt" --hidden-size 256
row news-classes "$data/ag_news_classes.tsv" --task classifier
row names-features "$names" --task conditional-generator --features length,first-letter
for size in 2048 10240 61440 1048576; do
    for text in "$data/tinyshakespeare.txt" "$data/ag_news.txt" "$names"; do
        row "$(basename "$text" .txt)-$size" "$(excerpt "$text" "$size")"
    done
done

# summary NAME FILE KEY DIGITS: mean and standard deviation of a number in that file of the three seeds.
summary() {
    for seed in 1 2 3; do
        json "$3" < "$results/$1/$seed/$2" 2> /dev/null || :
    done | awk -v digits="$4" '
        { n++; sum += $1; squares += $1 * $1 }
        END {
            if (n == 0) { print "–"; exit }
            mean = sum / n; variance = n > 1 ? (squares - n * mean * mean) / (n - 1) : 0
            printf "%.*f ± %.*f", digits, mean, digits, sqrt(variance > 0 ? variance : 0)
        }'
}

# The fewest bits per character of any order.
best_ngram() { tr "{" "\n" < "$1" | json_all bits_per_char | sort -n | awk 'NR == 1 { printf "%.3f", $1 }'; }
json_all() { sed -n "s/.*\"$1\": *\([0-9][0-9.e-]*\).*/\1/p"; }

{
    cat << 'END'
# Results

`models/reproduce.sh` trains these rows and writes this file. Each row is trained with three seeds; numbers are means and standard
deviations. The data is split 80/10/10 into train, dev and test: a text by position, lines by a hash. The best step is chosen on
dev; test is read once. Losses are those of the quantized model file, run in integers. The n-gram model is the best of orders 0 to 8
on test, interpolated Kneser-Ney, counted on train. Characters of test that train does not have are left out of the network's loss.

| text | options | dev, bits per character | test, bits per character | best n-gram model on test | model file, bytes | training, s |
|---|---|---|---|---|---|---|
END
    for folder in "$results"/*/; do
        name=$(basename "$folder")
        [ -e "$folder/3/test.json" ] && [ -s "$folder/3/ngram.json" ] || continue
        options=$(cat "$folder/options")
        printf '| %s | `%s` | %s | %s | %s | %s | %s |\n' "$name" "train ${options#*| }" \
            "$(summary "$name" dev.json bits_per_char 3)" "$(summary "$name" test.json bits_per_char 3)" \
            "$(best_ngram "$folder/1/ngram.json")" "$(wc -c < "$folder/1/model.pip")" "$(summary "$name" metrics.json seconds 0)"
    done
    cat << 'END'

| lines | options | dev, nats per prediction | test, nats per prediction | test, accuracy | model file, bytes | training, s |
|---|---|---|---|---|---|---|
END
    for folder in "$results"/*/; do
        name=$(basename "$folder")
        [ -e "$folder/3/test.json" ] && [ ! -s "$folder/3/ngram.json" ] || continue
        options=$(cat "$folder/options")
        printf '| %s | `%s` | %s | %s | %s | %s | %s |\n' "$name" "train ${options#*| }" \
            "$(summary "$name" dev.json loss 4)" "$(summary "$name" test.json loss 4)" "$(summary "$name" test.json accuracy 4)" \
            "$(wc -c < "$folder/1/model.pip")" "$(summary "$name" metrics.json seconds 0)"
    done
    echo
    echo "Commit $(git describe --always --dirty 2> /dev/null || echo unknown);$(sed -n 's/^model name[^:]*:/ /p' /proc/cpuinfo | head -n 1 | tr -s ' '), $(nproc) threads."
} > "$results/RESULTS.md"
mv "$results/RESULTS.md" models/RESULTS.md
echo "wrote models/RESULTS.md" >&2
