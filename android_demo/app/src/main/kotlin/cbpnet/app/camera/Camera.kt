package cbpnet.app.camera

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.util.Size
import cbpnet.core.RgbImage

/**
 * The back camera, or the only one there is.
 *
 * Frames are taken as numbers and not drawn by the system, so that what a person sees on the screen
 * is what the learner gets, upright and cut to the square in the middle.
 *
 * @param onFrame is told of each frame, on the camera's thread.
 * @param onError is told, on the camera's thread, that there will be no frames.
 */
class Camera(context: Context, private val onFrame: (RgbImage) -> Unit, private val onError: () -> Unit) {
    private val manager = context.getSystemService(Context.CAMERA_SERVICE) as CameraManager
    private val thread = HandlerThread("camera").apply { start() }
    private val handler = Handler(thread.looper)

    // All below belongs to the camera's thread.
    private var device: CameraDevice? = null
    private var reader: ImageReader? = null
    private var closed = false
    private var newest = 0L

    /** Starts the frames; the permission must have been given. [display] as for [frameOrientation]. */
    fun open(display: Int) {
        handler.post { attempt { openNow(display) } }
    }

    /** Ends the frames; this camera cannot be opened again. */
    fun close() {
        handler.post {
            closed = true
            device?.close()
            reader?.close()
            thread.quitSafely()
        }
    }

    @SuppressLint("MissingPermission")
    private fun openNow(display: Int) {
        val id = manager.cameraIdList.sortedBy { facesUser(manager.getCameraCharacteristics(it)) }.firstOrNull()
            ?: return onError()
        val camera = manager.getCameraCharacteristics(id)
        val sensor = camera.get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
        val orientation = frameOrientation(sensor, display, facesUser(camera))
        val size = frameSize(camera)
        val frames = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, 2)
        frames.setOnImageAvailableListener({ source ->
            source.acquireLatestImage()?.use { image ->
                if (isTime(image)) onFrame(yuvFrame(image).centre().upright(orientation))
            }
        }, handler)
        reader = frames
        manager.openCamera(id, Opened(), handler)
    }

    private inner class Opened : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            device = camera
            if (closed) return camera.close()
            attempt { camera.createCaptureSession(listOf(frames().surface), Configured(), handler) }
        }

        override fun onDisconnected(camera: CameraDevice) = fail(camera)

        override fun onError(camera: CameraDevice, error: Int) = fail(camera)

        private fun fail(camera: CameraDevice) {
            camera.close()
            onError()
        }
    }

    private inner class Configured : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) = attempt {
            if (closed) return@attempt
            val request = session.device.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
            request.addTarget(frames().surface)
            request.set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE)
            session.setRepeatingRequest(request.build(), null, handler)
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = onError()
    }

    /** Half of a camera's frames are enough to look at, and cost half of the memory. */
    private fun isTime(image: Image): Boolean {
        val due = image.timestamp - newest >= INTERVAL_NANOS
        if (due) newest = image.timestamp
        return due
    }

    private fun frames(): ImageReader = checkNotNull(reader)

    private fun attempt(step: () -> Unit) {
        try {
            step()
        } catch (_: CameraAccessException) { // another app has it, or a policy forbids it
            onError()
        } catch (_: IllegalStateException) { // it was closed in between
            onError()
        } catch (_: SecurityException) { // the permission was taken back
            onError()
        }
    }
}

private fun facesUser(camera: CameraCharacteristics): Boolean =
    camera.get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_FRONT

/** The smallest size that has enough for a backbone's 224 to 384 pixels. */
private fun frameSize(camera: CameraCharacteristics): Size {
    val sizes = camera.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP)
        ?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty().sortedBy { it.width * it.height }
    return sizes.firstOrNull { minOf(it.width, it.height) >= ENOUGH } ?: sizes.lastOrNull() ?: Size(ENOUGH, ENOUGH)
}

private const val ENOUGH = 480
private const val INTERVAL_NANOS = 60_000_000L

private fun yuvFrame(image: Image): YuvFrame {
    val (y, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
    return YuvFrame(image.width, image.height, y, u, v)
}
