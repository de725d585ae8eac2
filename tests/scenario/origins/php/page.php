<?php
// A usual PHP page with Last-Modified handling: the page is as old as the file that it shows.
$file = getenv('PAGE_FILE');
clearstatcache();
$modified = gmdate('D, d M Y H:i:s', filemtime($file)) . ' GMT';

header('Cache-Control: max-age=3');
header('Last-Modified: ' . $modified);
if (($_SERVER['HTTP_IF_MODIFIED_SINCE'] ?? '') === $modified) {
    http_response_code(304);
    exit;
}
header('Content-Type: text/plain');
readfile($file);
