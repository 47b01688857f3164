// The S3 door as the AWS SDK for JavaScript and MinIO's client for JavaScript see it.
// Environment as of s3_boto3.py; the packages are found through NODE_PATH.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const aws = require("@aws-sdk/client-s3");
const minio = require("minio");

const MIB = 1 << 20;
const { S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY, S3_SECRET_KEY } = process.env;

async function collect(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function refused(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.name === "S3Error" ? error.code : error.name, code);
    return true;
  });
}

async function byAws() {
  const s3 = new aws.S3Client({
    endpoint: S3_ENDPOINT,
    region: S3_REGION,
    forcePathStyle: true,
    credentials: { accessKeyId: S3_ACCESS_KEY, secretAccessKey: S3_SECRET_KEY },
  });
  const Bucket = "by-aws-sdk-js";
  const put = (Key, Body, more) => s3.send(new aws.PutObjectCommand({ Bucket, Key, Body, ...more }));
  const get = async (Key, more) => {
    const answer = await s3.send(new aws.GetObjectCommand({ Bucket, Key, ...more }));
    return Buffer.from(await answer.Body.transformToByteArray());
  };
  await s3.send(new aws.CreateBucketCommand({ Bucket }));
  await put("a/b c+ü", "hello", { Metadata: { colour: "blue" }, ContentType: "text/plain" });
  const head = await s3.send(new aws.HeadObjectCommand({ Bucket, Key: "a/b c+ü" }));
  assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata.colour], [5, "text/plain", "blue"]);
  assert.equal((await get("a/b c+ü", { Range: "bytes=-2" })).toString(), "lo");
  await refused("NoSuchKey", get("nothing"));
  await refused("PreconditionFailed", put("a/b c+ü", "again", { IfNoneMatch: "*" }));
  for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
    const made = await put(`sum/${ChecksumAlgorithm}`, randomBytes(MIB), { ChecksumAlgorithm });
    assert.ok(made[`Checksum${ChecksumAlgorithm}`]);
    await get(`sum/${ChecksumAlgorithm}`, { ChecksumMode: "ENABLED" });
  }
  const parts = [randomBytes(5 * MIB), randomBytes(MIB)];
  const { UploadId } = await s3.send(new aws.CreateMultipartUploadCommand({ Bucket, Key: "parts" }));
  const sent = await Promise.all(
    parts.map((Body, index) =>
      s3.send(new aws.UploadPartCommand({ Bucket, Key: "parts", UploadId, PartNumber: index + 1, Body })),
    ),
  );
  const Parts = sent.map(({ ETag, ChecksumCRC32 }, index) => ({ ETag, ChecksumCRC32, PartNumber: index + 1 }));
  await s3.send(
    new aws.CompleteMultipartUploadCommand({ Bucket, Key: "parts", UploadId, MultipartUpload: { Parts } }),
  );
  assert.ok((await get("parts")).equals(Buffer.concat(parts)));
  const keys = [];
  for await (const page of aws.paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) {
    keys.push(...page.Contents.map(({ Key }) => Key));
  }
  assert.deepEqual(keys, ["a/b c+ü", "parts", "sum/CRC32", "sum/CRC32C", "sum/SHA1", "sum/SHA256"]);
  const Objects = keys.map((Key) => ({ Key }));
  const gone = await s3.send(new aws.DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  assert.equal(gone.Deleted.length, keys.length);
  await s3.send(new aws.DeleteBucketCommand({ Bucket }));
  s3.destroy();
}

async function byMinio() {
  const endpoint = new URL(S3_ENDPOINT);
  const s3 = new minio.Client({
    endPoint: endpoint.hostname,
    port: Number(endpoint.port),
    useSSL: endpoint.protocol === "https:",
    accessKey: S3_ACCESS_KEY,
    secretKey: S3_SECRET_KEY,
    region: S3_REGION,
  });
  const bucket = "by-minio-js";
  await s3.makeBucket(bucket);
  assert.ok(await s3.bucketExists(bucket));
  const body = randomBytes(11 * MIB);
  await s3.putObject(bucket, "dir/large", body, body.length, { "X-Amz-Meta-Colour": "blue" });
  const stat = await s3.statObject(bucket, "dir/large");
  assert.deepEqual([stat.size, stat.metaData.colour], [body.length, "blue"]);
  const read = await collect(await s3.getObject(bucket, "dir/large"));
  assert.equal(createHash("sha256").update(read).digest("hex"), createHash("sha256").update(body).digest("hex"));
  const part = await collect(await s3.getPartialObject(bucket, "dir/large", 7, 9));
  assert.ok(part.equals(body.subarray(7, 16)));
  await refused("NoSuchKey", s3.getObject(bucket, "nothing"));
  const url = await s3.presignedGetObject(bucket, "dir/large", 60);
  assert.equal((await (await fetch(url)).arrayBuffer()).byteLength, body.length);
  const names = [];
  for await (const { name } of s3.listObjectsV2(bucket, "", true)) names.push(name);
  assert.deepEqual(names, ["dir/large"]);
  await s3.removeObjects(bucket, names);
  await s3.removeBucket(bucket);
}

for (const client of [byAws, byMinio]) {
  await client();
  console.log(`ok ${client.name}`);
}
