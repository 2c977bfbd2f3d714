package cbpnet.app.camera

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.net.Uri
import android.provider.Settings
import android.view.Surface
import android.view.View
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import cbpnet.app.R
import cbpnet.app.toBitmap
import cbpnet.app.view
import cbpnet.core.RgbImage

/**
 * The part of a screen that shows the camera's square, or says why there is none.
 *
 * The screen's layout includes `camera_pane`; the screen hands on its start, its stop and the answer
 * to the question for the permission.
 *
 * @param onFrame is told of each frame, on the main thread.
 */
class CameraPane(private val activity: Activity, private val onFrame: (RgbImage) -> Unit) {
    private val picture: ImageView = activity.view(R.id.camera_picture)
    private val trouble: View = activity.view(R.id.camera_trouble)
    private val explanation: TextView = activity.view(R.id.camera_explanation)
    private val allow: Button = activity.view(R.id.camera_allow)
    private var camera: Camera? = null

    init {
        allow.setOnClickListener { askAgain() }
    }

    fun start() {
        if (isAllowed()) {
            open()
        } else if (asked) {
            explain(R.string.camera_denied, canAllow = true)
        } else {
            asked = true
            activity.requestPermissions(arrayOf(Manifest.permission.CAMERA), REQUEST)
        }
    }

    fun stop() {
        camera?.close()
        camera = null
    }

    /** The person has answered; whoever asked something else has another [request]. */
    fun answered(request: Int) {
        if (request == REQUEST && camera == null) start()
    }

    private fun isAllowed() =
        activity.checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    /** Android asks no third time: then only its settings can allow it. */
    private fun askAgain() {
        if (activity.shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)) {
            activity.requestPermissions(arrayOf(Manifest.permission.CAMERA), REQUEST)
        } else {
            val app = Uri.fromParts("package", activity.packageName, null)
            activity.startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, app))
        }
    }

    private fun open() {
        trouble.visibility = View.GONE
        stop()
        var current: Camera? = null
        val onMain = { work: () -> Unit -> activity.runOnUiThread { if (camera === current) work() } }
        current = Camera(
            activity,
            onFrame = { image ->
                val bitmap = image.toBitmap()
                onMain { show(image, bitmap) }
            },
            onError = { onMain { explain(R.string.camera_missing, canAllow = false) } },
        )
        camera = current
        current.open(displayDegrees())
    }

    private fun show(image: RgbImage, bitmap: Bitmap) {
        picture.setImageBitmap(bitmap)
        onFrame(image)
    }

    private fun explain(text: Int, canAllow: Boolean) {
        trouble.visibility = View.VISIBLE
        explanation.setText(text)
        allow.visibility = if (canAllow) View.VISIBLE else View.GONE
    }

    private fun displayDegrees(): Int = when (activity.windowManager.defaultDisplay.rotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    private companion object {
        const val REQUEST = 1

        /** Asked once while the app lives, not with every rotation. */
        var asked = false
    }
}
