#!/usr/bin/env bash
# Fetches what /docs and /redoc show the API with, and the schema of AsyncAPI that a test uses, in the versions named
# here, and puts them below assets/docs/ and tests/data/. To be run by hand when the versions change; needs npm.
#
# The scripts are kept gzipped, as they are sent. Of Redoc the logo goes, which it would fetch from elsewhere.

source "$(dirname "$0")/lib.sh"

SWAGGER_UI=swagger-ui-dist@5.35.0
REDOC=redoc@2.5.4
ASYNCAPI=@asyncapi/specs@6.11.1

assets=$PWD/assets/docs
need_program npm npm
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

fetch() {
    (cd "$room" && tar xzf "$(npm pack --silent "$1")" && mv package "$2")
}

# Without a time and a name in it, so that the same text makes the same file; nor the line that leads to a source map.
pack() {
    grep -v '^//# sourceMappingURL=\|^/\*# sourceMappingURL=.*\*/$' | gzip -9n >"$assets/$1.gz"
}

fetch "$SWAGGER_UI" swagger-ui
fetch "$REDOC" redoc
fetch "$ASYNCAPI" asyncapi

logo='src:"https://cdn.redoc.ly/redoc/logo-mini.svg"'
redoc=$room/redoc/bundles/redoc.standalone.js
[[ $(grep -oF "$logo" "$redoc" | wc -l) == 1 ]] || fail "the logo of Redoc is not where it was"
sed 's|\[e,t\]=(0,n.useState)(!1);return(0,n.useEffect)(()=>{t(!0)},\[\]),e?n.createElement("img",{alt:"redocly logo",onError:()=>t(!1),'"$logo"'}):null|[e]=(0,n.useState)(!1);return null|' "$redoc" >"$redoc.plain"
! grep -qF cdn.redoc.ly "$redoc.plain" || fail "the logo of Redoc could not be taken out"

pack redoc.standalone.js <"$redoc.plain"
pack swagger-ui-bundle.js <"$room/swagger-ui/swagger-ui-bundle.js"
pack swagger-ui.css <"$room/swagger-ui/swagger-ui.css"

{
    cat <<TEXT
What is in this folder, beside pages of our own (*.html, *-start.js), was made by others. scripts/refresh-assets.sh
fetched it from npm and packed it; the logo was taken out of Redoc.

== $SWAGGER_UI (swagger-ui-bundle.js, swagger-ui.css), Apache-2.0

TEXT
    cat "$room/swagger-ui/NOTICE" "$room/swagger-ui/LICENSE" "$room/swagger-ui/swagger-ui-bundle.js.LICENSE.txt"
    printf '\n== %s (redoc.standalone.js), MIT\n\n' "$REDOC"
    cat "$room/redoc/LICENSE" "$room/redoc/bundles/redoc.standalone.js.LICENSE.txt"
} >"$assets/LICENSES.txt"

# On one line: nobody reads it.
node -e 'process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0))))' \
    <"$room/asyncapi/schemas/3.0.0.json" | gzip -9n >tests/data/asyncapi-3.0.0.json.gz
ls -l "$assets" tests/data/asyncapi-3.0.0.json.gz
